package fanout

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/model"
)

// Convergence compares a wanted state with what the sidecars of this replica have acknowledged. Away are the registered ones
// that this replica has no stream of, as far as it knows what concerns them.
func (h *Hub) Convergence(target model.Vector) *configpb.Convergence {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := &configpb.Convergence{}
	steps, all := h.reaching(target)
	p := h.current.Load()
	out.Compiling = !all
	if p == nil || len(steps) == 0 {
		out.Converged = all
		return out
	}
	changes := &compile.Changes{}
	for _, st := range steps {
		changes = changes.Merge(st.changes)
	}
	for k, s := range h.sessions {
		v, ok := s.judged(changes, p.state)
		if !ok {
			continue
		}
		out.Affected++
		switch nacks := refusals(v, changes); {
		case !v.acked.Reaches(target):
			out.Behind = append(out.Behind, k.String())
		case len(nacks) > 0:
			out.Refused = append(out.Refused, &configpb.Refusal{Sidecar: k.String(), Nacks: nacks})
		default:
			out.Applied++
		}
	}
	slices.Sort(out.Behind)
	slices.SortFunc(out.Refused, func(a, b *configpb.Refusal) int { return strings.Compare(a.GetSidecar(), b.GetSidecar()) })
	out.Away = h.away(changes, p.state)
	out.Affected += uint32(len(out.Away))
	out.Converged = all && len(out.Behind)+len(out.Refused) == 0
	if out.Converged && out.Applied > 0 {
		out.Took = durationpb.New(took(steps))
	}
	return out
}

// judged is the session's view if a change concerns it; ok is false when it does not.
func (s *session) judged(changes *compile.Changes, state *compile.State) (v view, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started && !s.wants.touched(changes, state) {
		return view{}, false
	}
	return s.look(), true
}

// Connected names the sidecars that have a stream at this replica, in no order.
func (h *Hub) Connected() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]string, 0, len(h.sessions))
	for k := range h.sessions {
		out = append(out, k.String())
	}
	return out
}

// reaching finds, for each source that the target names, the step that first reached it; all says whether each was reached.
func (h *Hub) reaching(target model.Vector) (steps []*step, all bool) {
	seen := map[uint64]bool{}
	for _, r := range target.Revisions() {
		want := model.Vector{}.With(r)
		i := slices.IndexFunc(h.history, func(st *step) bool { return st.vector.Reaches(want) })
		if i < 0 {
			return steps, false
		}
		if st := h.history[i]; !seen[st.generation] {
			seen[st.generation] = true
			steps = append(steps, st)
		}
	}
	return steps, true
}

// refusals are those of a sidecar's nacks that belong to a change.
func refusals(v view, changes *compile.Changes) []*configpb.Nack {
	var out []*configpb.Nack
	for _, n := range v.nacks {
		if v.wants.refers(n.GetResource(), changes) {
			out = append(out, n)
		}
	}
	return out
}

// away lists the workloads that are registered, have a sidecar, have no stream here, and that the change concerns; those too
// whose lease has run out, since a host that is cut off goes on by what it knew, but not those that are on their way out.
func (h *Hub) away(changes *compile.Changes, state *compile.State) []string {
	var out []string
	for k, w := range state.Workloads() {
		if w.State == model.WorkloadDraining || w.MeshPort == 0 || h.sessions[k] != nil {
			continue
		}
		wanted, ok := h.gone[k]
		if !ok || wanted.account != compile.AccountOf(w) {
			wanted = wants{workload: k, account: compile.AccountOf(w)}
		}
		if wanted.touched(changes, state) {
			out = append(out, k.String())
		}
	}
	slices.Sort(out)
	return out
}

// took is the time from the compilation of the first step to the last acknowledgement of any.
func took(steps []*step) time.Duration {
	var longest time.Duration
	for _, st := range steps {
		if !st.lastAck.IsZero() {
			longest = max(longest, st.lastAck.Sub(st.at))
		}
	}
	return longest
}
