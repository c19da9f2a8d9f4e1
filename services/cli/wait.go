package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

// wait blocks until the affected sidecars have applied a state, and says how that went on standard error.
func (o *options) wait(ctx context.Context, target *typepb.RevisionVector, limit time.Duration) error {
	if len(target.GetRevisions()) == 0 {
		return nil
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	last, err := watchConvergence(ctx, c, target, limit, func(now *configpb.Convergence) { o.progress(now) })
	if err != nil {
		return err
	}
	report(o.streams.Err, last)
	if !last.GetConverged() {
		return codeError{code: exitNotConverged}
	}
	if len(last.GetRefused()) > 0 {
		return codeError{code: exitNotConverged}
	}
	return nil
}

// watchConvergence follows the comparison until it has converged or the limit has passed, and returns the last one.
func watchConvergence(ctx context.Context, c *client, target *typepb.RevisionVector, limit time.Duration, each func(*configpb.Convergence)) (*configpb.Convergence, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stream, err := c.convergence.WatchConvergence(ctx, &configpb.WatchConvergenceRequest{Target: target})
	if err != nil {
		return nil, err
	}
	last := &configpb.Convergence{Compiling: true}
	for {
		resp, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF), code(err) == codes.DeadlineExceeded:
			return last, nil
		case err != nil:
			return nil, err
		}
		last = resp.GetConvergence()
		each(last)
	}
}

// progress tells a waiting person how far it is.
func (o *options) progress(now *configpb.Convergence) {
	if !now.GetConverged() && now.GetAffected() > 0 {
		fmt.Fprintf(o.streams.Err, "applied by %d of %d sidecars\n", now.GetApplied(), now.GetAffected())
	}
}

func report(w io.Writer, last *configpb.Convergence) {
	switch {
	case last.GetConverged() && last.GetAffected() == 0:
		fmt.Fprintln(w, "in force: no sidecar is affected")
	case last.GetConverged():
		fmt.Fprintf(w, "in force: applied by all %s affected, %s after it was compiled\n",
			plural(int(last.GetApplied()), "sidecar"), short(last.GetTook().AsDuration()))
	case last.GetCompiling():
		fmt.Fprintln(w, "not in force: the distributor has not compiled it yet; see `weft status`")
	default:
		fmt.Fprintf(w, "not in force everywhere: applied by %d of %d affected sidecars\n", last.GetApplied(), last.GetAffected())
	}
	list(w, "behind", last.GetBehind())
	list(w, "away (registered, not connected)", last.GetAway())
	list(w, "distributor replicas that did not answer", last.GetUnreachableReplicas())
	for _, r := range last.GetRefused() {
		for _, nack := range r.GetNacks() {
			fmt.Fprintf(w, "  refused by %s: %s: %s\n", r.GetSidecar(), nack.GetResource(), nack.GetError())
		}
	}
}

func list(w io.Writer, what string, names []string) {
	if len(names) > 0 {
		fmt.Fprintf(w, "  %s: %s\n", what, strings.Join(names, ", "))
	}
}
