"""The shop's cloud function that takes alerts on orders that look like fraud, served by functions-framework.

POST an array of alerts, each with its idempotency key in `key`, and the token of `ALERTS_TOKEN` as `Authorization: Bearer ...`: each key is taken
once, and whatever comes under it again is answered as before. GET answers what was taken. As functions do, it fails now and then: before
anything is done, and also after everything was.
"""

import hmac
import os
import threading

import functions_framework

TOKEN = os.environ["ALERTS_TOKEN"]
FAILS_BEFORE = 7
FAILS_AFTER = 5

lock = threading.Lock()
taken = {}
counts = {"requests": 0, "again": 0, "failed": 0}


@functions_framework.http
def alert(request):
    if request.method == "GET":
        with lock:
            return {"keys": sorted(taken), **counts}
    if not hmac.compare_digest(request.headers.get("Authorization", ""), f"Bearer {TOKEN}"):
        return {"error": "no token, or a wrong one"}, 401
    alerts = request.get_json(silent=True)
    if not isinstance(alerts, list) or "Idempotency-Key" not in request.headers:
        return {"error": "an array of alerts and an Idempotency-Key are wanted"}, 400
    with lock:
        counts["requests"] += 1
        number = counts["requests"]
        if number % FAILS_BEFORE == 0:
            counts["failed"] += 1
            return {"error": "busy"}, 503
        errors = [error for error in (take(index, order) for index, order in enumerate(alerts)) if error]
        if number % FAILS_AFTER == 0:
            counts["failed"] += 1
            return {"error": "taken, but the answer is lost"}, 500
    return {"errors": errors}


def take(index, order):
    key = order.get("key")
    if not key or not order.get("fraud_flag"):
        return {"index": index, "message": "an alert is a flagged order with a key"}
    if key not in taken:
        taken[key] = order
    elif taken[key] != order:
        return {"index": index, "message": f"another alert came under the key {key}"}
    else:
        counts["again"] += 1
    return None
