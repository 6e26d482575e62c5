"""What schemathesis does beyond the description of the REST API: it asks for what is there, and knows Connect's own server errors."""

import schemathesis

# What the test has made before, asked for in three of four requests: to a name that is not there there is one answer only.
KNOWN = {"connector": "fuzzed", "plugin": "penstock.BlackholeSinkConnector", "logger": "penstock.fuzzed"}

# Kafka Connect answers 500 to bodies that it cannot read and to classes that it does not know; so do we. Any other 500 is a mistake.
CONNECTS_OWN = (
    "The request's body ",
    "The request has no body",
    "The field ",
    "The value of ",
    "org.apache.kafka.connect.runtime.rest.errors.BadRequestException: ",
)


@schemathesis.hook
def map_path_parameters(ctx, path_parameters):
    for name, known in KNOWN.items():
        given = (path_parameters or {}).get(name)
        if isinstance(given, str) and sum(given.encode("utf-8", "surrogatepass")) % 4 != 0:
            path_parameters[name] = known
    return path_parameters


@schemathesis.check
def only_the_server_errors_of_connect(ctx, response, case):
    if response.status_code < 500:
        return
    body = response.json()
    message = body.get("message", "")
    assert response.status_code == 500 and message.startswith(CONNECTS_OWN), f"{response.status_code}: {body}"
