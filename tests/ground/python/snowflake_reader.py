"""Reads back what is in Snowflake, with Snowflake's own Python connector: one SQL text on each line in (as a JSON string), one JSON
line out, {"rows": [{column: value, ..}, ..]} or {"error": "..", "errno": ..}. Run: `python THIS_FILE CONNECT_ARGUMENTS.json`.
"""

import base64
import datetime
import decimal
import json
import signal
import sys

import snowflake.connector

# A Ctrl-C in the terminal is for whoever started this; it ends with its input.
signal.signal(signal.SIGINT, signal.SIG_IGN)


def plain(value):
    """JSON for what JSON has not: exact numbers and times as text."""
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    return str(value)


class Reader:
    def __init__(self, arguments):
        self.arguments = arguments
        self.connection = None

    def run(self, sql):
        """The rows of a statement, in a new session if the server has lost the one before."""
        try:
            return self.run_in_session(sql)
        except snowflake.connector.errors.Error as error:
            self.connection = None
            if error.errno not in SESSION_LOST:
                raise
            return self.run_in_session(sql)

    def run_in_session(self, sql):
        if self.connection is None:
            self.connection = snowflake.connector.connect(**self.arguments)
        cursor = self.connection.cursor(snowflake.connector.DictCursor)
        cursor.execute(sql, timeout=60)
        return cursor.fetchall()


SESSION_LOST = (390104, 390111, 390112, 390114)


def main(arguments_file):
    with open(arguments_file, encoding="utf-8") as file:
        reader = Reader(json.load(file))
    for line in sys.stdin:
        try:
            reply = {"rows": reader.run(json.loads(line))}
        except Exception as error:  # whatever it is, the test at the other end must hear it
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply, default=plain), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
