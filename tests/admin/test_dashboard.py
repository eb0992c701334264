"""The page of the dashboard: one file, of which the browser is told exactly what may run."""

import base64
import hashlib
import re
from html.parser import HTMLParser

from corehttp.admin.dashboard import page

TEXT = page().body.decode()
POLICY = dict(page().fields)[b"content-security-policy"].decode()


def test_the_policy_allows_the_script_and_the_style_of_the_page_and_nothing_else() -> None:
    for tag in ("script", "style"):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", TEXT, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in POLICY
    assert POLICY.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in POLICY
    assert "unsafe" not in POLICY


class Tags(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(TEXT)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_nothing_comes_from_elsewhere_and_nothing_needs_more_than_the_policy_allows() -> None:
    elsewhere = [url for url in re.findall(r"https?://[^\s\"'`]+", TEXT) if url != "http://www.w3.org/2000/svg"]
    assert not elsewhere
    for tag, attributes in Tags().found:
        assert not {"style", "src"} & attributes.keys(), tag
        assert not any(name.startswith("on") for name in attributes), tag
    assert "innerHTML" not in TEXT, "what a client has sent, such as a path, must stay text"


def test_a_screen_reader_finds_its_way() -> None:
    tags = Tags().found
    assert ("html", {"lang": "en"}) in tags
    assert {"header", "main", "h1", "h2", "table", "noscript"} <= {tag for tag, _ in tags}
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    labels = [attributes["aria-labelledby"] for _, attributes in tags if "aria-labelledby" in attributes]
    assert set(labels) <= set(ids)
    assert [attributes["role"] for _, attributes in tags if attributes.get("id") == "said"] == ["status"]
