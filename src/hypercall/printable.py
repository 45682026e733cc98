"""Texts of strangers (guests, files) that are to be shown on a terminal."""


def printable(text: str, longest: int) -> str:
    """Return a text as one line that changes nothing on a terminal.

    Args:
        text: the text.
        longest: how many characters of it are wanted.
    """
    text = text[:longest]
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else "?" for each in text)
