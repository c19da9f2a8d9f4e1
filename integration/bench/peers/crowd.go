package peers

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

const crowdService = `---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {name: %[1]s}
spec: {accounts: [crowd], ports: [{name: http, port: 80, protocol: http}]}
---
apiVersion: weft.dev/v1alpha1
kind: Route
metadata: {name: %[1]s}
spec: {service: %[1]s, rules: [{backends: [{service: %[1]s}]}]}
`

// together is how many services one sidecar is an endpoint of: a join token takes no more than 64.
const together = 50

// Crowd puts so many services with a route each into the mesh of Weft, and starts sidecars: some that are endpoints of a part of
// them, and one that subscribes to that part. It returns the latter's process, once it can call the last of them.
func (p Place) Crowd(ctx context.Context, c *Contender, services, subscribed int) (pid int, err error) {
	var b strings.Builder
	var serve, subscribe []string
	for i := range services {
		name := fmt.Sprintf("s%04d", i)
		fmt.Fprintf(&b, crowdService, name)
		if i < subscribed {
			serve = append(serve, "--service", name)
			subscribe = append(subscribe, "--upstream", name)
		}
	}
	if err := c.mesh.apply(ctx, strings.TrimPrefix(b.String(), "---\n")); err != nil {
		return 0, err
	}
	p.Dir = c.mesh.dir
	port := fmt.Sprint(p.App.HTTP.Port())
	for part := range slices.Chunk(serve, 2*together) {
		name := "crowd-" + part[1]
		if _, err := p.sidecar(ctx, c, name, "crowd", append(part, "--app-port", port, "--protocol", HTTP)...); err != nil {
			return 0, err
		}
	}
	process, err := p.sidecar(ctx, c, "crowd-client", "client", subscribe...)
	if err != nil {
		return 0, err
	}
	return process.Pid(), c.mesh.reachable(ctx, "crowd-client", fmt.Sprintf("default/s%04d", subscribed-1))
}
