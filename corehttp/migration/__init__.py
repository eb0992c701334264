"""What becomes of the flags and files of uvicorn, gunicorn and PM2: `corehttp migrate`, and the tables in docs/."""
