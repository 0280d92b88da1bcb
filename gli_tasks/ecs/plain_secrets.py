"""Tell a secret in plain text by the name that it goes by and by its shape. Pure; what is found never holds it."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter

# What a variable's name must hold to be that of a secret, as words between underscores; the guides' own names
# end with the environment's (SECRET_KEY_PRODUCTION), so the words may stand anywhere.
_SECRET_WORDS = re.compile(
    r"(?:^|_)(?:[A-Z0-9]*PASSWORD|PASSWD|PASSPHRASE|PASS$|PASS(?=_(?:PROD|STAG|DEV|TEST))|PWD|PW"
    r"|(?:REDISCLI|REDIS|BASIC|PROXY)_AUTH$|SECRETS?|TOKEN|CREDENTIALS?|APIKEY"
    r"|(?:API|ACCESS|SECRET|PRIVATE|SIGNING|ENCRYPTION|MASTER|AUTH|ACCOUNT|LICENSE|JWT|SSH|HMAC)_?KEY)(?:_|[0-9]|$)"
)
# The last word of a name that speaks of a secret and holds none.
_ABOUT_A_SECRET = re.compile(
    r"_(?:NAME|ARN|ID|URL|URI|PATH|FILE|DIR|TTL|AGE|LENGTH|MIN|MAX|HEADER|FIELD|PREFIX|TYPE|ALGORITHM|ISSUER|AUDIENCE"
    r"|EXPIRY|EXPIRES?|EXPIRES_IN|EXPIRATION|LIFETIME|SECONDS|MINUTES|HOURS|DAYS|ENABLED|REQUIRED|POLICY|ROTATION|LIMIT"
    r"|COUNT|TIMEOUT|MODE|HASHER|MANAGER|SIZE|REGION|ENDPOINT|HOST|PORT|BUCKET|VERSION|PROVIDER|STORE)$"
)
# A short number is a limit or a time.
_NO_SECRET_VALUES = re.compile(r"(?i)[0-9]{1,4}|true|false|yes|no|on|off|none|null|disabled|enabled")
# What refers to a secret, and is none: a reference of these settings, an ARN, a file.
_REFERENCES = ("aws-sm:", "env:", "arn:", "/run/secrets/", "file:")
# Identities that look like chance: commits, digests, hashes.
_IDENTITY_NAMES = re.compile(
    r"(?:^|_)(?:COMMIT|VERSION|REVISION|SHA|SHA1|SHA256|DIGEST|HASH|CHECKSUM|BUILD|RELEASE|UUID)(?:_|$)"
)
# What is drawn by chance and shown to everyone.
_PUBLIC_NAMES = re.compile(r"_ID$|PUBLIC|PUBLISHABLE|SITE_KEY")
_UUID = re.compile(r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_KNOWN_SHAPES = (
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")),
    ("an address with a password in it", re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:[^\s/@]+@")),
    ("a signed token (JWT)", re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}")),
    ("a webhook's address", re.compile(r"https://hooks\.slack\.com/(?:services|workflows)/\w+")),
    (
        "a provider's token",
        re.compile(
            r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}"
            r"|(?:sk|rk)_live_\w{16,}|sk-[\w-]{24,}|AIza[\w-]{30,}|npm_\w{30,}|SG\.[\w-]{16,}\.[\w-]{16,})"
        ),
    ),
)

#: Values that stand behind a name in a text: --db-password=x and PGPASSWORD=x in a command, {"password": "x"} and
#: ?user=a&password=x in a value, and what curl and mysql take. Groups: key (all before the value), value.
ASSIGNED = (
    re.compile(
        r"(?P<key>[\w.-]*(?:password|passwd|token|secret|private|credential|_auth|_pw|_pass)[\w.-]*[\"']?"
        r"\s*(?:=|:\s+|:(?=[\"']))\s*[\"']?)(?P<value>[^\s\"'&;]+)",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<key>\bcurl\b[^|;&]*?\s(?:-u|--user)[ =]?[\"']?[^\s:\"']*:)(?P<value>[^\s\"']+)"),
    re.compile(r"(?P<key>\b(?:mysql|mysqldump|mysqladmin|mariadb)\b[^|;&]*?\s-p)(?P<value>[^\s\"']+)"),
)
_FLAG_AND_VALUE = re.compile(r"(?i)\s--?[\w-]*(?P<key>password|passwd|token|secret)\s+(?P<value>[^\s\"'-][^\s\"']*)")
# What stands for a value that is put in when it is used: of a shell, of a template.
_PUT_IN = ("$", "{", "<", "%")

_TOKEN = re.compile(r"[\w+/=~!@#$%^&*()-]{20,}")
# What names are put together with: no sign of chance.
_SEPARATORS = re.compile(r"[-_/]")
_HEX = re.compile(r"(?=(?:.*[0-9]){4})(?=(?:.*[a-f]){4})[0-9a-f]{32,}", re.IGNORECASE)
_LEAST_BITS = 3.2
_LEAST_LETTERS = 5
# How often the kind of character changes, and how many digits there are: of one case, and of both.
_ONE_CASE = (0.4, 3)
_BOTH_CASES = (0.33, 1)


def secret_in_text(text: str) -> str:
    """Return what kind of secret a text holds, by a shape that is no chance; empty where there is none."""
    if kind := next((kind for kind, shape in _KNOWN_SHAPES if shape.search(text)), ""):
        return kind
    found = (one for shape in (*ASSIGNED, _FLAG_AND_VALUE) for one in shape.finditer(text))
    return "a value whose name says that it is secret" if any(map(_is_assigned, found)) else ""


def _is_assigned(found: re.Match[str]) -> bool:
    upper = re.sub(r"[.-]", "_", found["key"].rstrip(" \"'=:")).upper()
    value = found["value"]
    return not (
        value.startswith((*_REFERENCES, *_PUT_IN))
        or _NO_SECRET_VALUES.fullmatch(value)
        or _ABOUT_A_SECRET.search(upper)
        or "PUBLIC" in upper
    )


def secret_in_variable(name: str, value: str) -> str:
    """Return what kind of secret a variable holds in plain text; empty where it holds none."""
    if not value or value.startswith(_REFERENCES):
        return ""
    if kind := secret_in_text(value):
        return kind
    upper = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[.-]", "_", name).upper()
    if (
        _SECRET_WORDS.search(upper)
        and not _ABOUT_A_SECRET.search(upper)
        and "PUBLIC" not in upper
        and not _NO_SECRET_VALUES.fullmatch(value)
    ):
        return "a secret, as its name says"
    if _looks_random(value) and not _IDENTITY_NAMES.search(upper) and not _PUBLIC_NAMES.search(upper):
        return "a token, as its random characters say"
    return ""


def _looks_random(value: str) -> bool:
    """Tell whether a value looks drawn by chance: long, of many characters, and of kinds that change all the time.

    Words and names change from letters to digits, or from small to capital, once or twice a word.
    """
    if not _TOKEN.fullmatch(value) or _UUID.fullmatch(value):
        return False
    if _HEX.fullmatch(value):
        return True
    joined = _SEPARATORS.sub("", value)
    kinds = [_kind(character) for character in joined]
    lower, upper = kinds.count("lower"), kinds.count("upper")
    least_changes, least_digits = _BOTH_CASES if lower and upper else _ONE_CASE
    if lower + upper < _LEAST_LETTERS or kinds.count("digit") < least_digits or _bits(joined) < _LEAST_BITS:
        return False
    return sum(one != other for one, other in itertools.pairwise(kinds)) >= least_changes * len(joined)


def _kind(character: str) -> str:
    if character.isdigit():
        return "digit"
    if character.isalpha():
        return "upper" if character.isupper() else "lower"
    return "mark"


def _bits(value: str) -> float:
    """Return Shannon's entropy, in bits a character."""
    return -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
