"""The wire of the twin: AWS's protocols on one side, plain methods on the other.

A service subclasses ``AwsService`` and writes one method an operation, named as boto3 names it. Requests come in any
protocol that the service has ever spoken (JSON, query, RPC v2 CBOR, REST JSON); they are checked against botocore's
model before the method runs, and so is its answer before it leaves.

    class Alarms(AwsService):
        validation_error_code = "ValidationError"

        def describe_alarms(self, request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
            if params.get("AlarmNames") == ["no-such"]:
                raise AwsError("ResourceNotFound", "There is no such alarm.")
            return {"MetricAlarms": [], "CompositeAlarms": []}

    pages = {"/_twin/topology": lambda request: HttpAnswer.json({"version": 1, "region": "ap-northeast-2"})}
    gateway = Gateway(moto_app, [Alarms("cloudwatch", fall_through=True)], pages)
    make_server("127.0.0.1", 0, gateway, threaded=True).serve_forever()

Timestamps are aware ``datetime`` objects and blobs ``bytes`` in both directions. A page whose path ends with ``/``
answers everything below it. ``fall_through=True`` hands operations without a method to the wrapped application.
"""

from gli_tasks.rehearsal.wire.errors import AwsError
from gli_tasks.rehearsal.wire.gateway import Gateway
from gli_tasks.rehearsal.wire.ledger import Asked, Ledger
from gli_tasks.rehearsal.wire.messages import HttpAnswer, HttpRequest, Page
from gli_tasks.rehearsal.wire.service import AwsService, RequestContext

__all__ = [
    "Asked",
    "AwsError",
    "AwsService",
    "Gateway",
    "HttpAnswer",
    "HttpRequest",
    "Ledger",
    "Page",
    "RequestContext",
]
