package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/integration/harness"
)

// steps is the story, in order. A step returns an error when the story cannot go on; a broken promise is only remembered.
func (d *demo) steps() []func(context.Context) error {
	return []func(context.Context) error{
		d.stepPlane, d.stepShop, d.stepIdentities, d.stepCanary, d.stepAccess, d.stepKill, d.stepOutage, d.stepTop,
	}
}

func (d *demo) stepPlane(ctx context.Context) error {
	d.out.heading("A control plane")
	if err := d.choosePorts(); err != nil {
		return err
	}
	d.out.typed("weft up")
	took, err := d.startPlane(ctx)
	if err != nil {
		return err
	}
	d.out.promise(true, "six services and an embedded etcd are ready after %s", round(took))
	return d.chooseCapture(ctx)
}

func (d *demo) stepShop(ctx context.Context) error {
	d.out.heading("A shop of programs that know nothing of a mesh")
	d.out.typed("weft run --service reviews --port 9080 --label version=v1 -- python3 reviews.py 9080 v1   # and so on")
	if err := d.startShop(ctx); err != nil {
		return err
	}
	d.out.say("load -> web -> reviews v1, v2 -> ratings, web -> cart (gRPC) -> store (TCP); Go, " + strings.Join(d.languages, ", "))
	if err := d.startLoad(ctx); err != nil {
		return err
	}
	out, err := d.show(ctx, "weft services", "services")
	d.out.promise(err == nil && strings.Count(out, "ready") == len(d.shop), "%d workloads serve %d services", len(d.shop), 5)
	return err
}

func (d *demo) stepIdentities(ctx context.Context) error {
	d.out.heading("Everybody has an identity, every hop is mutual TLS")
	s, err := d.status(ctx)
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	for _, sc := range s.Sidecars {
		ids[sc.SpiffeID] = true
	}
	for _, id := range slices.Sorted(keys(ids)) {
		d.out.say(id)
	}
	d.out.promise(len(ids) == 6, "%d identities for %d sidecars", len(ids), len(s.Sidecars))
	return d.eventuallyPromise(ctx, "every edge of the mesh is mTLS, none is plaintext", func() error {
		e, err := d.top(ctx, "--by", "edge", "--cumulative")
		if err != nil {
			return err
		}
		services := map[string]bool{}
		for _, r := range e.Rows {
			if !r.Edge.MTLS && r.Edge.DestinationWorkload != "" {
				return fmt.Errorf("edge %s -> %s is plaintext", r.Edge.Source, r.Edge.Service)
			}
			services[r.Edge.Service] = true
		}
		if len(services) < 5 {
			return fmt.Errorf("only %d services have been called", len(services))
		}
		return nil
	})
}

func (d *demo) stepCanary(ctx context.Context) error {
	d.out.heading("A canary: reviews v1 to v2")
	for _, weight := range []int{10, 50, 100} {
		if err := d.apply(ctx, fmt.Sprintf("canary-%d.yaml", weight), canary(weight)); err != nil {
			return err
		}
		before := d.tally.now()
		// Requests that were under way when the change was acknowledged may still be counted.
		if err := pause(ctx, 600*time.Millisecond); err != nil {
			return err
		}
		settled := d.tally.now()
		if err := pause(ctx, 2500*time.Millisecond); err != nil {
			return err
		}
		got := d.tally.now().since(settled)
		share, kept := shareOf(got.Versions, "v2", weight)
		d.out.promise(kept, "v2 answers %.0f %% of %d requests (wanted %d %%)", share, got.OK, weight)
		d.out.promise(d.tally.now().since(before).failed() == 0, "no request failed")
	}
	return nil
}

// shareOf is the percentage of a version and whether it is within four standard deviations of what is wanted.
func shareOf(versions map[string]int, version string, want int) (float64, bool) {
	total := 0
	for _, n := range versions {
		total += n
	}
	if total == 0 {
		return 0, false
	}
	p := float64(want) / 100
	sigma := math.Sqrt(p * (1 - p) / float64(total))
	got := float64(versions[version]) / float64(total)
	return 100 * got, math.Abs(got-p) <= 4*sigma
}

func canary(v2 int) string {
	return fmt.Sprintf(`apiVersion: weft.dev/v1alpha1
kind: Route
metadata: {name: reviews-canary}
spec:
  service: reviews
  rules:
    - backends:
        - {service: reviews, labels: {version: v1}, weight: %d}
        - {service: reviews, labels: {version: v2}, weight: %d}
`, 100-v2, v2)
}

const ratingsCallers = `apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: {name: ratings-callers}
spec:
  destination: {account: ratings}
  allow:
    - from: [{account: reviews}]
      to: [{methods: [GET], path: {prefix: /ratings/}}]
`

func (d *demo) stepAccess(ctx context.Context) error {
	d.out.heading("Only reviews may call ratings")
	answer, err := d.probe(ctx)
	if err != nil {
		return err
	}
	d.out.promise(strings.HasPrefix(answer, "200"), "before the policy, an intruder gets %s", answer)
	if err := d.apply(ctx, "ratings-callers.yaml", ratingsCallers); err != nil {
		return err
	}
	before := d.tally.now()
	if answer, err = d.probe(ctx); err != nil {
		return err
	}
	d.out.promise(strings.HasPrefix(answer, "403") && strings.Contains(answer, "reason=denied"), "now the intruder gets %s", answer)
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	got := d.tally.now().since(before)
	d.out.promise(got.failed() == 0 && got.OK > 0, "reviews still may: %d requests, %d failed", got.OK, got.failed())
	return nil
}

// probe calls ratings as a program of another account.
func (d *demo) probe(ctx context.Context) (string, error) {
	args := append([]string{"run", "--account", "intruder"}, d.upstreams("ratings")...)
	out, errOut, err := d.run(ctx, append(args, "--", d.bin+"/weft-shop", "probe", "--url", "http://"+d.at("ratings")+"/ratings/p1")...)
	if err != nil {
		return "", fmt.Errorf("probe: %w: %s", err, errOut)
	}
	return strings.TrimSpace(out), nil
}

func (d *demo) stepKill(ctx context.Context) error {
	d.out.heading("One instance dies at once: program, sidecar and all (SIGKILL)")
	before := d.tally.now()
	victim := d.shop["reviews-v2a"]
	harness.KillFamily(victim.Pid())
	d.out.say("killed reviews-v2a")
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	got := d.tally.now().since(before)
	lost := got.failed()
	allowed := got.Failures["upstream_reset"] + got.Failures["truncated"]
	d.out.promise(lost == allowed, "%d requests answered, %d lost: only those that could not be sent again %v", got.OK, lost, got.Failures)
	return nil
}

func (d *demo) stepOutage(ctx context.Context) error {
	d.out.heading("The whole control plane dies (SIGKILL)")
	before := d.tally.now()
	d.plane.Signal(syscall.SIGKILL)
	d.plane.Wait(5 * time.Second)
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	d.outage = d.tally.now().since(before)
	d.out.promise(d.outage.OK > d.rate && d.outage.failed() == 0, "%d requests without a control plane, %d failed %v", d.outage.OK, d.outage.failed(), d.outage.Failures)
	took, err := d.startPlane(ctx)
	if err != nil {
		return err
	}
	d.out.say(fmt.Sprintf("started again, ready after %s", round(took)))
	if err := d.eventuallyPromise(ctx, "every sidecar is back in sync, nothing else was restarted", func() error { return d.inSync(ctx) }); err != nil {
		return err
	}
	if err := d.apply(ctx, "canary-50.yaml", canary(50)); err != nil {
		return err
	}
	got := d.tally.now().since(before)
	d.out.promise(got.failed() == 0, "%d requests in all that time, %d failed %v", got.OK, got.failed(), got.Failures)
	return nil
}

// inSync says which sidecar is away or behind. The killed instance is registered still, its lease has run out.
func (d *demo) inSync(ctx context.Context) error {
	s, err := d.status(ctx)
	if err != nil {
		return err
	}
	connected := 0
	for _, sc := range s.Sidecars {
		switch {
		case sc.Workload == "reviews-v2a":
		case !sc.Connected:
			return fmt.Errorf("%s is away", sc.Workload)
		case sc.Behind:
			return fmt.Errorf("%s is behind", sc.Workload)
		default:
			connected++
		}
	}
	if want := len(d.shop); connected != want { // all of the shop but the killed one, and the load generator
		return fmt.Errorf("%d sidecars are connected, not %d", connected, want)
	}
	return nil
}

func (d *demo) stepTop(ctx context.Context) error {
	d.out.heading("Who talks to whom")
	// Telemetry has been restarted too: it knows a window once it has heard two reports of a sidecar.
	err := d.eventuallyPromise(ctx, "the sidecars report to the new telemetry", func() error {
		e, err := d.top(ctx, "--window", "10s")
		if err != nil {
			return err
		}
		busy := map[string]bool{}
		for _, r := range e.Rows {
			busy[r.Edge.Service] = busy[r.Edge.Service] || r.Requests != "" && r.Requests != "0"
		}
		for _, service := range []string{"default/web", "default/reviews", "default/cart", "default/ratings"} {
			if !busy[service] {
				return fmt.Errorf("no requests to %s yet", service)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = d.show(ctx, "weft top --window 10s", "top", "--window", "10s")
	return err
}

// eventuallyPromise makes a promise that may need a moment to come true.
func (d *demo) eventuallyPromise(ctx context.Context, text string, check func() error) error {
	err := d.eventually(ctx, 20*time.Second, check)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		text += fmt.Sprintf(" (%s)", err)
	}
	d.out.promise(err == nil, "%s", text)
	return nil
}
