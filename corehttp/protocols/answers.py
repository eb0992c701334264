"""What the server answers where the application does not. Pure."""

CLIENT_CLOSED = 499  # the status in the access log if the client has left before a response began; nginx has the same

PLAIN = (b"content-type", b"text/plain; charset=utf-8")

# Whole responses: status, fields, body.
FAULT = (500, [PLAIN], b"Internal Server Error")  # the application has failed
LEAVING = (
    503,
    [PLAIN, (b"retry-after", b"1")],
    b"the server is shutting down\n",
)  # the worker leaves first
