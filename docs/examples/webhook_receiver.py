"""For receivers of webhooks with a `signing_key`: who sent a request, and when. The clock has to be right."""

import hashlib
import hmac
import time


def is_ours(headers, body, key, patience_seconds=300):
    sent = headers.get("X-Stts-Timestamp", "")
    good = "sha256=" + hmac.new(key, sent.encode() + b"." + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(good, headers.get("X-Stts-Signature-V2", "")):
        return False
    return abs(time.time() - int(sent)) < patience_seconds
