"""The quota of Fargate's vCPUs, which moto does not know.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html
"""

from __future__ import annotations

from typing import Any

from gli_tasks.rehearsal.wire import AwsError, AwsService, RequestContext

_FARGATE_VCPUS = "L-3032A538"


class FargateQuota(AwsService):
    """GetServiceQuota for Fargate On-Demand vCPUs; ``vcpus`` is AWS's own default where nothing else is said."""

    def __init__(self, account: str, region: str, vcpus: float = 6.0) -> None:
        super().__init__("service-quotas", fall_through=True)
        self._arn = f"arn:aws:servicequotas:{region}:{account}:fargate/{_FARGATE_VCPUS}"
        self.vcpus = vcpus

    def get_service_quota(self, _request: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Return the one quota that is here."""
        if (params["ServiceCode"], params["QuotaCode"]) != ("fargate", _FARGATE_VCPUS):
            raise AwsError(
                "NoSuchResourceException", "The request failed because the specified service does not exist."
            )
        return {
            "Quota": {
                "ServiceCode": "fargate",
                "ServiceName": "AWS Fargate",
                "QuotaArn": self._arn,
                "QuotaCode": _FARGATE_VCPUS,
                "QuotaName": "Fargate On-Demand vCPU resource count",
                "Value": self.vcpus,
                "Unit": "None",
                "Adjustable": True,
                "GlobalQuota": False,
            }
        }
