"""Units of systemd: what their files say."""

import shutil
import subprocess
from pathlib import Path

import pytest

from corehttp.config import Config
from corehttp.units import Installation, can_be_activated, service_unit, socket_unit

HERE = Installation(("/bin/true",), "/srv/shop", "")


def lines(words: tuple[str, ...], config: Config, where: Installation = HERE, *, activated: bool = True) -> list[str]:
    return service_unit("shop", config, words, where, activated=activated).splitlines()


def test_the_service_takes_the_sockets_of_its_socket_unit() -> None:
    words = ("main:app", "--port", "80", "-b=:81", "--uds", "a", "--workers", "2", "--host=::", "-b:82", "--fd", "3")
    told = lines(words, Config(bind=(":80",)))
    assert "ExecStart=/bin/true main:app --workers 2 --bind systemd:" in told
    assert "Requires=shop.socket" in told
    assert "CapabilityBoundingSet=" in told


def test_what_all_binds_say_of_proxy_headers_is_said_of_their_sockets() -> None:
    binds = (":80,proxy-protocol=v2", ":81,proxy-protocol=v2")
    assert "ExecStart=/bin/true main:app --bind systemd:,proxy-protocol=v2" in lines(("main:app",), Config(bind=binds))
    assert can_be_activated(Config(bind=binds))
    assert not can_be_activated(Config(bind=(*binds, ":82")))
    assert can_be_activated(Config(bind=(*binds, ":82"), proxy_protocol="v2"))
    words = ("main:app", "--proxy-protocol", "v2")
    told = lines(words, Config(bind=binds, proxy_protocol="v2"))
    assert "ExecStart=/bin/true main:app --proxy-protocol v2 --bind systemd:" in told


def test_without_a_socket_unit_a_low_port_needs_one_capability() -> None:
    told = lines(("main:app", "--port", "80"), Config(port=80), activated=False)
    assert "ExecStart=/bin/true main:app --port 80" in told
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in told
    assert "Requires=shop.socket" not in told


def test_the_user_of_the_options_and_what_goes_with_it_are_settings_of_the_unit() -> None:
    words = ("main:app", "--user", "www", "--group=web", "--umask", "077", "--chdir", "/srv/other", "--pid", "run/p")
    config = Config(user="www", group="web", umask="077", chdir="/srv/other", pid="run/p")
    told = lines(words, config, Installation(("/bin/true",), "/srv/other", "root"))
    assert "ExecStart=/bin/true main:app --pid run/p --bind systemd:" in told
    assert {"User=www", "Group=web", "UMask=0077", "WorkingDirectory=/srv/other"} <= set(told)
    assert "ReadWritePaths=/srv/other/run" in told
    assert "UMask=0027" in lines(("main:app",), Config())


def test_time_limits_follow_from_the_options() -> None:
    config = Config(shutdown_delay=10, timeout_graceful_shutdown=20, timeout_worker_startup=200)
    told = lines(("main:app",), config)
    assert "TimeoutStopSec=55" in told
    assert "TimeoutStartSec=230" in told


def test_words_are_quoted_and_nothing_in_them_is_expanded() -> None:
    words = ("main:app", "--header", 'a:"b" $HOME', "--root-path", "/%h")
    assert 'ExecStart=/bin/true main:app --header "a:\\"b\\" $$HOME" --root-path /%%h --bind systemd:' in lines(
        words, Config()
    )


def test_what_the_server_writes_may_be_written() -> None:
    told = lines(("main:app",), Config(log_file="/var/log/shop/a", access_log_file="/var/log/shop/b", pid="/run/x/p"))
    assert "ReadWritePaths=/run/x /var/log/shop" in told


def test_relative_paths_begin_where_the_service_starts_and_a_directory_is_itself_written() -> None:
    config = Config(
        pid="p",
        control="/run/c/x.sock",
        admin="unix:/run/a/x.sock",
        prometheus_multiproc="/run/counted",
        bind=("unix:s/s",),
    )
    told = lines(("main:app",), config, activated=False)
    assert "ReadWritePaths=/run/a /run/c /run/counted /srv/shop /srv/shop/s" in told


@pytest.mark.parametrize(("directory", "shown"), [("/home/u/shop", "read-only"), ("/srv/shop", "yes")])
def test_homes_are_hidden_unless_the_service_is_in_one(directory: str, shown: str) -> None:
    assert f"ProtectHome={shown}" in lines(("main:app",), Config(), Installation(("/bin/true",), directory, "u"))


def test_variables_that_the_unit_does_not_have_are_named() -> None:
    where = Installation(("/bin/true",), "/srv", "", ("COREHTTP_WORKERS",))
    told = "# COREHTTP_WORKERS is set where this was printed: name a file with it in EnvironmentFile="
    assert told in lines(("main:app",), Config(), where)


def test_the_socket_unit_has_every_address_with_mode_and_owner() -> None:
    binds = ("127.0.0.1:80", "[::1]:81", ":82", "unix:/run/shop.sock", "unix:@shop")
    text = socket_unit("shop", Config(bind=binds, uds_permissions="660", uds_owner="www:data"))
    streams = [line.partition("=")[2] for line in text.splitlines() if line.startswith("ListenStream=")]
    assert streams == ["127.0.0.1:80", "[::1]:81", "82", "/run/shop.sock", "@shop"]
    for line in ("BindIPv6Only=both", "SocketMode=0660", "SocketUser=www", "SocketGroup=data", "Backlog=2048"):
        assert line in text.splitlines()


def test_an_ipv6_wildcard_is_ipv6_alone_where_it_is_so_without_systemd() -> None:
    assert "BindIPv6Only=ipv6-only" in socket_unit("shop", Config(bind=("[::]:80", "0.0.0.0:80")))
    assert "BindIPv6Only=ipv6-only" in socket_unit("shop", Config(host="::"))
    assert "BindIPv6Only=both" in socket_unit("shop", Config(bind=("[::]:80",)))


def test_all_addresses_stay_all_beside_a_socket_of_ipv6_alone() -> None:
    told = socket_unit("shop", Config(bind=("[::]:80", "0.0.0.0:80", "[::]:81", ":82"))).splitlines()
    streams = [line.partition("=")[2] for line in told if line.startswith("ListenStream=")]
    assert streams == ["[::]:80", "0.0.0.0:80", "[::]:81", "0.0.0.0:81", "[::]:82", "0.0.0.0:82"]
    assert "BindIPv6Only=ipv6-only" in told


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "localhost:80", "unix:shop.sock", "fd://3", "systemd:web"])
def test_what_a_socket_unit_cannot_say_is_left_to_the_service(bind: str) -> None:
    assert not can_be_activated(Config(bind=("127.0.0.1:80", bind)))


@pytest.mark.parametrize("activated", [True, False])
def test_systemd_takes_the_files_where_it_is_installed(tmp_path: Path, activated: bool) -> None:
    config = Config(bind=("[::]:80", "unix:/run/shop.sock"), uds_owner="root", log_file="/var/log/a b/x")
    where = Installation(("/bin/true",), "/", "")
    service = tmp_path / "shop.service"
    service.write_text(service_unit("shop", config, ("main:app", "--header", "a:b c"), where, activated=activated))
    files = [service]
    if activated:
        files.append(tmp_path / "shop.socket")
        files[1].write_text(socket_unit("shop", config))
    if shutil.which("systemd-analyze") is not None:
        told = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=True)
        ours = [line for line in told.stderr.splitlines() if str(tmp_path) in line]
        assert [line for line in ours if "notify-reload" not in line] == []
    else:
        assert service.read_text().startswith("[Unit]\n")
