"""How far a request and its response have come. Pure."""

from enum import Enum


class ResponsePhase(Enum):
    """How far the application has come with its response."""

    HEAD = "head"  # it has sent nothing
    STARTED = "started"  # it has sent `http.response.start`, which waits for the first message of the body
    BODY = "body"  # the head was given to the stream, and more of the body is to come
    TRAILERS = "trailers"  # the body was given to the stream as well, and the trailers are to come
    DONE = "done"  # the whole response was given to the stream


class Intake(Enum):
    """How far the request's body has come."""

    COMING = "coming"  # more of it is to come
    WHOLE = "whole"  # all of it has come, and the application does not know that yet
    TOLD = "told"  # the application has had its last `http.request`
