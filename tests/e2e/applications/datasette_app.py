"""Datasette over a small database, which is made in the current directory."""

import sqlite3
from pathlib import Path

from datasette.app import Datasette

DATABASE = Path("birds.db").resolve()


def prepare() -> None:
    """Make the database."""
    with sqlite3.connect(DATABASE) as connection:
        connection.execute("create table birds (id integer primary key, name text)")
        connection.executemany("insert into birds (name) values (?)", [(f"bird {number}",) for number in range(250)])


app = Datasette([str(DATABASE)]).app()
