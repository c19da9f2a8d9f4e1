// Shifts traffic between versions of a service and shows who talks to whom, over Weft's API.
//
//     canary apply SERVICE VERSION=WEIGHT…    stores a route, and returns when every sidecar that it concerns has applied it
//     canary top                              prints a line for each service and version that was called
//
// Where the gateway is: WEFT_GATEWAY. Who is asking: the token in the file WEFT_TOKEN_FILE. WEFT_CA, a file with the mesh's
// trust bundle, asks for TLS; WEFT_TRUST_DOMAIN is then needed unless it is weft.local.

import { readFileSync } from "node:fs";
import { checkServerIdentity } from "node:tls";

import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Client, type Interceptor, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ConvergenceSchema, ConvergenceService, type Convergence } from "@weft-mesh/client/config/v1alpha1/convergence";
import { RouteSchema, type Route } from "@weft-mesh/client/policy/v1alpha1/policy";
import { PolicyService } from "@weft-mesh/client/policy/v1alpha1/service";
import { GroupBy, TelemetryService } from "@weft-mesh/client/telemetry/v1alpha1/service";
import type { SourceRevision } from "@weft-mesh/client/type/v1alpha1/revision";

/** Milliseconds that a call may take. */
const patience = 30_000;

const usage = "usage: canary apply SERVICE VERSION=WEIGHT… | canary top";

/** Runs the command and says what went wrong. */
async function main(args: string[]): Promise<string | undefined> {
  const [command, service, ...weights] = args;
  const mesh = new Mesh(connect());
  try {
    if (command === "apply" && service !== undefined && weights.length > 0 && weights.every((w) => /=\d+$/.test(w))) {
      return await mesh.apply(service, weights.map((w): [string, number] => [w.split("=")[0] ?? "", Number(w.split("=")[1])]));
    }
    if (command === "top" && service === undefined) {
      return await mesh.top();
    }
    return usage;
  } catch (failure) {
    const error = ConnectError.from(failure);
    return `${Code[error.code]}: ${error.rawMessage}`;
  }
}

/** Plaintext, which the gateway serves to its own machine, or TLS when there is a bundle to verify it by. */
function connect(): Transport {
  const token = readFileSync(required("WEFT_TOKEN_FILE"), "utf8").trim();
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  const common = { interceptors: [authorize], defaultTimeoutMs: patience };
  const bundle = process.env["WEFT_CA"];
  if (!bundle) {
    return createGrpcTransport({ ...common, baseUrl: `http://${required("WEFT_GATEWAY")}` });
  }
  const name = `gateway.weft-system.${process.env["WEFT_TRUST_DOMAIN"] ?? "weft.local"}`;
  return createGrpcTransport({
    ...common,
    baseUrl: `https://${required("WEFT_GATEWAY")}`,
    nodeOptions: { ca: readFileSync(bundle), checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate) },
  });
}

function required(name: string): string {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set`);
  }
  return value;
}

/** What an administrator does with a mesh. */
class Mesh {
  readonly #policy: Client<typeof PolicyService>;
  readonly #convergence: Client<typeof ConvergenceService>;
  readonly #telemetry: Client<typeof TelemetryService>;

  constructor(transport: Transport) {
    this.#policy = createClient(PolicyService, transport);
    this.#convergence = createClient(ConvergenceService, transport);
    this.#telemetry = createClient(TelemetryService, transport);
  }

  /** Sends shares of a service's traffic to its versions. */
  async apply(service: string, weights: [string, number][]): Promise<string | undefined> {
    const backends = weights.map(([version, weight]) => ({ service, labels: { version }, weight }));
    const route = create(RouteSchema, { metadata: { name: service }, spec: { service, rules: [{ backends }] } });
    const state = await this.#wait(await this.#store(route));
    if (!state.converged || state.refused.length > 0) {
      return `not in force: behind ${state.behind.join()}, refused by ${state.refused.map((r) => r.sidecar).join()}`;
    }
    console.log(`in force: applied by ${state.applied} of ${state.affected} sidecars`);
    return undefined;
  }

  /** Updates the route, or creates it. */
  async #store(route: Route): Promise<SourceRevision | undefined> {
    try {
      return (await this.#policy.updateRoute({ route })).revision;
    } catch (failure) {
      if (ConnectError.from(failure).code !== Code.NotFound) {
        throw failure;
      }
      return (await this.#policy.createRoute({ route })).revision;
    }
  }

  /** Follows the comparison until the stream ends, which it does when everybody is there. */
  async #wait(revision: SourceRevision | undefined): Promise<Convergence> {
    let state = create(ConvergenceSchema, { compiling: true });
    for await (const answer of this.#convergence.watchConvergence({ target: { revisions: revision ? [revision] : [] } })) {
      state = answer.convergence ?? state;
    }
    return state;
  }

  /** Prints what was called in the last ten minutes. */
  async top(): Promise<string | undefined> {
    const answer = await this.#telemetry.queryEdges({ window: { seconds: 600n }, groupBy: GroupBy.VERSION });
    for (const { edge, requests, successes } of answer.rows) {
      console.log(`${edge?.service} ${edge?.version} requests=${requests} successes=${successes}`);
    }
    return undefined;
  }
}

const problem = await main(process.argv.slice(2));
if (problem !== undefined) {
  console.error(problem);
  process.exitCode = 1;
}
