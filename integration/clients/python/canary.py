"""Shifts traffic between versions of a service and shows who talks to whom, over Weft's API.

    canary.py apply SERVICE VERSION=WEIGHT…    stores a route, and returns when every sidecar that it concerns has applied it
    canary.py top                              prints a line for each service and version that was called

Where the gateway is: WEFT_GATEWAY. Who is asking: the token in the file WEFT_TOKEN_FILE. WEFT_CA, a file with the mesh's trust
bundle, asks for TLS; WEFT_TRUST_DOMAIN is then needed unless it is weft.local.
"""

import os
import sys
from pathlib import Path

import grpc
from google.protobuf.duration_pb2 import Duration

from weft.config.v1alpha1.convergence_pb2 import Convergence, WatchConvergenceRequest
from weft.config.v1alpha1.convergence_pb2_grpc import ConvergenceServiceStub
from weft.policy.v1alpha1.policy_pb2 import Backend, Route, RouteRule, RouteSpec
from weft.policy.v1alpha1.service_pb2 import CreateRouteRequest, UpdateRouteRequest
from weft.policy.v1alpha1.service_pb2_grpc import PolicyServiceStub
from weft.telemetry.v1alpha1.service_pb2 import GROUP_BY_VERSION, QueryEdgesRequest
from weft.telemetry.v1alpha1.service_pb2_grpc import TelemetryServiceStub
from weft.type.v1alpha1.object_pb2 import ObjectMeta
from weft.type.v1alpha1.revision_pb2 import RevisionVector, SourceRevision

PATIENCE = 30.0
"""Seconds that a call may take."""


def main(arguments: list[str]) -> str | None:
    """Return what went wrong."""
    with connect() as channel:
        client = Client(channel, Path(os.environ["WEFT_TOKEN_FILE"]).read_text().strip())
        try:
            match arguments:
                case ["apply", service, *weights] if weights and all(w.partition("=")[2].isdecimal() for w in weights):
                    return client.apply(service, dict(parse(w) for w in weights))
                case ["top"]:
                    return client.top()
        except grpc.RpcError as failure:
            assert isinstance(failure, grpc.Call)
            return f"{failure.code().name}: {failure.details()}"
    return __doc__


def parse(weight: str) -> tuple[str, int]:
    """Take "v2=10" apart."""
    version, _, share = weight.partition("=")
    return version, int(share)


def connect() -> grpc.Channel:
    """Plaintext, which the gateway serves to its own machine, or TLS when there is a bundle to verify it by."""
    address, bundle = os.environ["WEFT_GATEWAY"], os.environ.get("WEFT_CA")
    if not bundle:
        return grpc.insecure_channel(address)
    credentials = grpc.ssl_channel_credentials(Path(bundle).read_bytes())
    name = f"gateway.weft-system.{os.environ.get('WEFT_TRUST_DOMAIN', 'weft.local')}"
    return grpc.secure_channel(address, credentials, [("grpc.ssl_target_name_override", name)])


class Client:
    """What an administrator does with a mesh."""

    def __init__(self, channel: grpc.Channel, token: str) -> None:
        """Speak over channel with the administrator's token."""
        self.metadata = (("authorization", f"Bearer {token}"),)
        self.policy = PolicyServiceStub(channel)
        self.convergence = ConvergenceServiceStub(channel)
        self.telemetry = TelemetryServiceStub(channel)

    def apply(self, service: str, weights: dict[str, int]) -> str | None:
        """Send shares of a service's traffic to its versions."""
        revision = self.store(Route(
            metadata=ObjectMeta(name=service),
            spec=RouteSpec(service=service, rules=[RouteRule(backends=[
                Backend(service=service, labels={"version": version}, weight=weight) for version, weight in weights.items()
            ])]),
        ))
        state = self.wait(RevisionVector(revisions=[revision]))
        if not state.converged or state.refused:
            return f"not in force: behind {list(state.behind)}, refused by {[r.sidecar for r in state.refused]}"
        print(f"in force: applied by {state.applied} of {state.affected} sidecars")
        return None

    def store(self, route: Route) -> SourceRevision:
        """Update the route, or create it."""
        try:
            return self.policy.UpdateRoute(UpdateRouteRequest(route=route), metadata=self.metadata, timeout=PATIENCE).revision
        except grpc.RpcError as failure:
            if not isinstance(failure, grpc.Call) or failure.code() != grpc.StatusCode.NOT_FOUND:
                raise
            return self.policy.CreateRoute(CreateRouteRequest(route=route), metadata=self.metadata, timeout=PATIENCE).revision

    def wait(self, target: RevisionVector) -> Convergence:
        """Follow the comparison until the stream ends, which it does when everybody is there."""
        state = Convergence(compiling=True)
        for answer in self.convergence.WatchConvergence(
            WatchConvergenceRequest(target=target), metadata=self.metadata, timeout=PATIENCE,
        ):
            state = answer.convergence
        return state

    def top(self) -> str | None:
        """Print what was called in the last ten minutes."""
        request = QueryEdgesRequest(window=Duration(seconds=600), group_by=GROUP_BY_VERSION)
        for row in self.telemetry.QueryEdges(request, metadata=self.metadata, timeout=PATIENCE).rows:
            print(row.edge.service, row.edge.version, f"requests={row.requests}", f"successes={row.successes}")
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
