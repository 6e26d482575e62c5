"""A Snowflake account to test against: fakesnow (SQL on DuckDB), with what it leaves out added around it.

fakesnow knows Snowflake's SQL. This adapter stands in front of it as an ASGI application and

  * adds the fields that Snowflake's answers have and strict clients need (`complete_*` below);
  * checks who logs in: account, user, role, password, or a key-pair token signed with the user's registered key;
  * ends sessions: on demand, and when one leaves a transaction open (a client that was killed), as an operator would;
  * keeps databases and stages in a folder, so that the account outlives `kill -9` of this process;
  * goes wrong on demand (`/_control/faults`): refuses, delays, hangs, drops connections, dies, before or after the work is done.

It says nothing of Snowflake's speed, and knows only the routes that fakesnow has. Run: `python THIS_FILE CONFIG.json`, see `Account`.
"""

import asyncio
import base64
import collections
import gzip
import hashlib
import itertools
import json
import os
import re
import signal
import sys
import time
import uuid
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import duckdb
import fakesnow.instance
import fakesnow.server
import jwt
import uvicorn
from cryptography.hazmat.primitives import serialization
from fakesnow.transforms import stage
from starlette.concurrency import run_in_threadpool

TOKEN_LIFE_MAX_S = 3600
CLOCK_SKEW_S = 60
SESSION_VALIDITY_S = 3600
MASTER_VALIDITY_S = 14400
REQUESTS_KEPT_MAX = 20_000

BEGIN = re.compile(r"\s*(BEGIN|START\s+TRANSACTION)\b", re.IGNORECASE)
END = re.compile(r"\s*(COMMIT|ROLLBACK)\b", re.IGNORECASE)
DDL = re.compile(r"\s*(CREATE(?!\s+(OR\s+REPLACE\s+)?TEMP)|ALTER|DROP|UNDROP|TRUNCATE|COMMENT)\b", re.IGNORECASE)


@dataclass
class Account:
    """The configuration: who may log in, and where the data lies."""

    port: int
    data_dir: str
    account: str
    # Upper-case name -> {"password": .., "public_key": PEM, "roles": [..]}; a user without a key or password cannot use that way.
    users: dict
    # A session that has a transaction open and is silent for so long is closed and rolled back. Snowflake takes hours.
    idle_transaction_s: float = 5.0


class LoginRefused(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


# ---- faults -----------------------------------------------------------------------------------------------------------


@dataclass
class Fault:
    """One thing that goes wrong. It acts on requests that match `method`, `path` and `sql` (regular expressions, searched),
    after `skip` of them have passed, `times` times (null: for ever). `action` is one of

        {"status": 503, "body": "..."}                  answer so, nothing is done
        {"error": {"code", "sql_state", "message"}}     Snowflake's own error answer, nothing is done
        {"delay_ms": 500}                               be slow, then go on
        {"drop": "before" | "after"}                    close the connection, before or after the work is done
        {"hold": "before" | "after"}                    hang until /_control/release or until the client goes away (then: before = not done)
        {"exit": "before" | "after"}                    this process kills itself, as `kill -9` would
    """

    action: dict
    method: str = ""
    path: str = ""
    sql: str = ""
    skip: int = 0
    times: int | None = 1
    seen: int = 0
    hits: int = 0

    def takes(self, request):
        matches = (
            re.search(self.method, request.method)
            and re.search(self.path, request.path)
            and (not self.sql or re.search(self.sql, request.sql, re.IGNORECASE | re.DOTALL))
        )
        if not matches:
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


@dataclass
class Request:
    method: str
    path: str
    query: dict
    headers: dict
    body: bytes
    json: dict = field(default_factory=dict)

    @property
    def sql(self):
        return self.json.get("sqlText", "")


# ---- the application --------------------------------------------------------------------------------------------------


class FakesnowWithMissingFields:
    def __init__(self, account):
        self.account = account
        self.faults = []
        self.released = asyncio.Event()
        self.requests = collections.deque(maxlen=REQUESTS_KEPT_MAX)
        self.last_used = {}  # session token -> monotonic seconds
        self.masters = {}  # master token -> session token
        self.renewed = {}  # session token handed out by a renewal -> fakesnow's token
        self.expired = set()
        self.session_ids = itertools.count(1_000_001)
        self.busy = collections.Counter()  # session token -> requests under way
        self.in_transaction = set()  # session tokens

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self.lifespan(receive, send)
        request = await read_request(scope, receive)
        if request.path.startswith("/_control/"):
            return await answer(send, 200, self.control(request))
        fault = next((fault for fault in self.faults if fault.takes(request)), None)
        action = fault.action if fault else {}
        status = None
        try:
            if await self.goes_wrong_before(action, request, receive, send):
                return
            status, body = await self.serve(scope, request)
            if await self.goes_wrong_after(action, receive, send):
                return
            await answer_raw(send, status, body)
        finally:
            self.requests.append(
                {"method": request.method, "path": request.path, "sql": request.sql, "status": status, "fault": action or None}
            )

    async def goes_wrong_before(self, action, request, receive, send):
        if "delay_ms" in action:
            await asyncio.sleep(action["delay_ms"] / 1000)
        if "status" in action:
            await answer_raw(send, action["status"], action.get("body", "").encode())
            return True
        if "error" in action:
            error = action["error"]
            await answer(send, 200, failure(error["code"], error["message"], error.get("sql_state")))
            return True
        return await self.cut(action, "before", receive, send)

    async def goes_wrong_after(self, action, receive, send):
        return await self.cut(action, "after", receive, send)

    async def cut(self, action, when, receive, send):
        """Ends or holds up the request at this point, if the action says so. True: there is nobody to answer any more."""
        if action.get("exit") == when:
            os.kill(os.getpid(), signal.SIGKILL)
        if action.get("drop") == when:
            abort_connection(send)
            return True
        if action.get("hold") == when:
            gone = asyncio.ensure_future(client_gone(receive))
            released = asyncio.ensure_future(self.released.wait())
            done, pending = await asyncio.wait({gone, released}, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            return gone in done
        return False

    async def serve(self, scope, request):
        if request.path == "/session/v1/login-request":
            return await self.login(scope, request)
        if request.path == "/session/token-request":
            return self.renew(request)
        token = session_token(request)
        if token in self.expired:
            return 200, dump(failure("390112", "Your session has expired. Please login again."))
        token = self.renewed.get(token, token)
        if request.path.startswith(("/queries/", "/session")) and token not in fakesnow.server.sessions:
            return 200, dump(failure("390111", "Session no longer exists.  New login required to access the service."))
        self.busy[token] += 1
        try:
            if token in self.in_transaction and DDL.match(request.sql):
                # As Snowflake does: DDL commits what is open before it, and is not part of a transaction itself.
                await run_in_threadpool(fakesnow.server.sessions[token].cursor().execute, "COMMIT")
                self.in_transaction.discard(token)
            status, body = await call_fakesnow(scope, request, token)
        finally:
            self.busy[token] -= 1
            self.last_used[token] = time.monotonic()
        if request.path == "/queries/v1/query-request":
            body = complete_query(body, request)
            self.note_transaction(token, request.sql, body)
        return status, body

    def note_transaction(self, token, sql, body):
        if END.match(sql):
            self.in_transaction.discard(token)
        elif BEGIN.match(sql) and b'"success": true' in body:
            self.in_transaction.add(token)

    # -- sessions

    async def login(self, scope, request):
        data = request.json.setdefault("data", {})
        data.setdefault("SESSION_PARAMETERS", {})
        try:
            user, role = check_login(self.account, data, request.query)
        except LoginRefused as refused:
            return 200, dump(failure(refused.code, refused.message, authn_method=data.get("AUTHENTICATOR", "USERNAME_PASSWORD")))
        request.body = json.dumps(request.json).encode()
        request.headers.pop("content-encoding", None)
        status, body = await call_fakesnow(scope, request, None)
        answer_json = json.loads(body)
        if not answer_json.get("success"):
            return status, body
        token = answer_json["data"]["token"]
        master = "master-" + uuid.uuid4().hex
        self.masters[master] = token
        self.last_used[token] = time.monotonic()
        complete_login(answer_json["data"], master, next(self.session_ids), user, role, first(request.query, "warehouse"))
        return status, dump(answer_json)

    def renew(self, request):
        fakesnow_token = self.masters.get(session_token(request))
        if fakesnow_token not in fakesnow.server.sessions:
            return 200, dump(failure("390114", "Authentication token has expired.  The user must authenticate again."))
        token = "renewed-" + uuid.uuid4().hex
        self.renewed[token] = fakesnow_token
        data = {
            "sessionToken": token,
            "validityInSecondsST": SESSION_VALIDITY_S,
            "masterToken": session_token(request),
            "validityInSecondsMT": MASTER_VALIDITY_S,
            "sessionId": next(self.session_ids),
        }
        return 200, dump({"data": data, "message": None, "code": None, "success": True})

    def close_session(self, token):
        connection = fakesnow.server.sessions.pop(token)
        if token in self.in_transaction:
            self.in_transaction.discard(token)
            connection.cursor().execute("ROLLBACK")

    async def close_idle_transactions(self):
        while True:
            await asyncio.sleep(self.account.idle_transaction_s / 10)
            now = time.monotonic()
            for token in list(fakesnow.server.sessions):
                idle_s = now - self.last_used.get(token, now)
                if token in self.in_transaction and not self.busy[token] and idle_s > self.account.idle_transaction_s:
                    self.close_session(token)
                    print(f"closed a session that left its transaction open for {idle_s:.1f} s", flush=True)

    async def lifespan(self, receive, send):
        sweeper = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                sweeper = asyncio.ensure_future(self.close_idle_transactions())
                await send({"type": "lifespan.startup.complete"})
            else:
                sweeper.cancel()
                return await send({"type": "lifespan.shutdown.complete"})

    # -- for the test at the other end

    def control(self, request):
        match (request.method, request.path.removeprefix("/_control/")):
            case ("GET", "ready"):
                return {"ready": True}
            case ("PUT", "faults"):
                self.released = asyncio.Event()
                self.faults = [Fault(**fault) for fault in request.json]
                return {}
            case ("GET", "faults"):
                return [fault.__dict__ for fault in self.faults]
            case ("POST", "release"):
                self.released.set()
                return {}
            case ("POST", "expire-sessions"):
                self.expired |= set(fakesnow.server.sessions) | set(self.renewed)
                return {}
            case ("POST", "close-sessions"):
                for token in list(fakesnow.server.sessions):
                    self.close_session(token)
                return {}
            case ("GET", "requests"):
                return list(self.requests)
        return {"error": f"no such control: {request.method} {request.path}"}


# ---- who may log in ---------------------------------------------------------------------------------------------------


def check_login(account, data, query):
    """The user and role of a log-in that is in order; otherwise LoginRefused, with Snowflake's codes and words."""
    name = data.get("LOGIN_NAME", "").upper()
    user = account.users.get(name)
    authenticator = data.get("AUTHENTICATOR", "SNOWFLAKE").upper()
    asked_account = data.get("ACCOUNT_NAME", "").upper().split(".")[0]
    if authenticator == "SNOWFLAKE_JWT":
        name = check_key_pair_token(account, data.get("TOKEN", ""), name)
        user = account.users[name]
    elif authenticator in ("SNOWFLAKE", "USERNAME_PASSWORD_MFA", ""):
        right = user and user.get("password") and data.get("PASSWORD") == user["password"]
        if not right or asked_account != account.account:
            raise LoginRefused("390100", "Incorrect username or password was specified.")
    else:
        raise LoginRefused("390144", f"The authenticator {authenticator} is not known to this stand-in.")
    roles = user.get("roles") or ["PUBLIC"]
    role = (first(query, "roleName") or roles[0]).strip('"')
    if role.upper() not in roles:
        raise LoginRefused(
            "390189",
            f"Role '{role}' specified in the connect string does not exist or not authorized. Contact your local system "
            "administrator, or attempt to login with another role, e.g. PUBLIC.",
        )
    return name, role.upper()


def check_key_pair_token(account, token, login_name):
    refused = LoginRefused("390144", f"JWT token is invalid. [{uuid.uuid4()}]")
    try:
        issuer = jwt.decode(token, options={"verify_signature": False})["iss"]
        asked_account, name, fingerprint = issuer.split(".", 2)
        pem = account.users[name]["public_key"].encode()
        claims = jwt.decode(token, pem, algorithms=["RS256"], leeway=CLOCK_SKEW_S, options={"require": ["exp", "iat", "iss", "sub"]})
    except (KeyError, ValueError, jwt.InvalidTokenError) as error:
        print(f"refused a key-pair token: {type(error).__name__}: {error}", flush=True)
        raise refused from None
    in_order = (
        asked_account == account.account
        and claims["sub"] == f"{asked_account}.{name}"
        and fingerprint == "SHA256:" + key_fingerprint(pem)
        and claims["exp"] - claims["iat"] <= TOKEN_LIFE_MAX_S
        and login_name in ("", name)
    )
    if not in_order:
        print(f"refused a key-pair token with claims {claims} for {login_name}", flush=True)
        raise refused
    return name


def key_fingerprint(pem):
    der = serialization.load_pem_public_key(pem).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


# ---- the missing fields -----------------------------------------------------------------------------------------------


def complete_login(data, master, session_id, user, role, warehouse):
    data["masterToken"] = master
    data["validityInSeconds"] = SESSION_VALIDITY_S
    data["masterValidityInSeconds"] = MASTER_VALIDITY_S
    data["sessionId"] = session_id
    data["displayUserName"] = user
    data["firstLogin"] = False
    data["sessionInfo"]["roleName"] = role
    data["sessionInfo"]["warehouseName"] = warehouse


def complete_query(body, request):
    try:
        reply = json.loads(body)
    except ValueError:
        return body  # an unhandled error of fakesnow, in its own words
    data = reply.get("data")
    if data is None:
        return body
    if reply.get("success") and "stageInfo" in data:
        data.setdefault("threshold", 64 * 1024 * 1024)
        data.setdefault("encryptionMaterial", [])
        data["stageInfo"].setdefault("storageAccount", "")
        data["stageInfo"].setdefault("endPoint", None)
    elif reply.get("success"):
        data.setdefault("returned", data.get("total", 0))
        data.setdefault("version", 1)
        data.setdefault("finalRoleName", "PUBLIC")
        data.setdefault("finalWarehouseName", None)
        data.setdefault("numberOfBinds", len(request.json.get("bindings") or {}))
        data.setdefault("arrayBindSupported", False)
        data.setdefault("databaseProvider", None)
    else:
        complete_error(data)
    reply.setdefault("code", None)
    reply.setdefault("message", None)
    return dump(reply)


def complete_error(data):
    data.setdefault("age", 0)
    data.setdefault("queryId", str(uuid.uuid4()))
    data.setdefault("internalError", False)
    data.setdefault("line", -1)
    data.setdefault("pos", -1)
    data["errorCode"] = data.get("errorCode") or "000603"
    data["sqlState"] = data.get("sqlState") or "XX000"


def failure(code, message, sql_state=None, authn_method=None):
    data = {"errorCode": code, "sqlState": sql_state}
    if sql_state:
        complete_error(data)
    if authn_method:
        data |= {"authnMethod": authn_method, "nextAction": "RETRY_LOGIN"}
    elif not sql_state:
        data = None
    return {"data": data, "code": code, "message": message, "success": False, "headers": None}


# ---- HTTP -------------------------------------------------------------------------------------------------------------


async def read_request(scope, receive):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    request = Request(scope["method"], scope["path"], parse_qs(scope["query_string"].decode()), headers, body)
    if request.path != "/" and not request.path.startswith("/fs_bucket/") and body:
        text = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        try:
            request.json = json.loads(text) or {}  # ending a session carries `null`
        except ValueError:
            print(f"a body that is not JSON: {request.method} {request.path}", flush=True)
    return request


async def call_fakesnow(scope, request, token):
    """fakesnow's answer to the request, as status and body."""
    headers = dict(request.headers)
    if token is not None:
        headers["authorization"] = f'Snowflake Token="{token}"'
    headers["content-length"] = str(len(request.body))
    scope = dict(scope, headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()])
    messages = iter([{"type": "http.request", "body": request.body, "more_body": False}])
    status, parts = 500, []

    async def receive():
        return next(messages, {"type": "http.disconnect"})

    async def send(message):
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    try:
        await fakesnow.server.app(scope, receive, send)
    except Exception as error:  # Starlette has answered 500 already and raises for the server's log
        print(f"fakesnow failed at {request.method} {request.path}: {error!r}", flush=True)
    return status, b"".join(parts)


async def answer(send, status, content):
    await answer_raw(send, status, dump(content))


async def answer_raw(send, status, body):
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def client_gone(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


def abort_connection(send):
    # The application stands outermost, so `send` is a method of the server's own request object.
    send.__self__.transport.abort()


def session_token(request):
    found = re.fullmatch(r'Snowflake Token="(.*)"', request.headers.get("authorization", ""))
    return found.group(1) if found else None


def first(query, name):
    return query.get(name, [None])[0]


def dump(content):
    return json.dumps(content).encode()


# ---- start ------------------------------------------------------------------------------------------------------------


class DuckdbThatKeepsGlobals:
    """Stands for the module `duckdb` in fakesnow.instance: what spans databases (stages, file formats) is kept in a file too."""

    def __init__(self, data_dir):
        self.file = os.path.join(data_dir, "globals.db")

    def connect(self, *args, **options):
        connection = duckdb.connect(*args, **options)
        connection.execute(f"ATTACH '{self.file}' AS {fakesnow.instance.GLOBAL_DATABASE_NAME}")
        return connection


def main(config_file):
    with open(config_file, encoding="utf-8") as file:
        account = Account(**json.load(file))
    databases, bucket = os.path.join(account.data_dir, "databases"), os.path.join(account.data_dir, "stages")
    os.makedirs(databases, exist_ok=True)
    os.makedirs(bucket, exist_ok=True)
    stage.LOCAL_BUCKET_PATH = bucket
    fakesnow.instance.duckdb = DuckdbThatKeepsGlobals(account.data_dir)
    fakesnow.server.shared_fs = fakesnow.instance.FakeSnow(db_path=databases)
    uvicorn.run(FakesnowWithMissingFields(account), host="127.0.0.1", port=account.port, log_level="warning", http="h11")


if __name__ == "__main__":
    main(sys.argv[1])
