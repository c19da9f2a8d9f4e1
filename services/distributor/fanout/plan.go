package fanout

import (
	"sync"

	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/model"
)

// plans remembers for one state what each subscription needs: thousands of sidecars ask for the same services. Safe for
// concurrent use.
type plans struct {
	state *compile.State
	index *indexVersions

	mu   sync.RWMutex
	made map[model.Key]plan
}

// plan is what a subscription to one service needs.
type plan struct {
	closure  []*compile.Resource // nil when there is no such service
	backends []model.Key         // other services that its rules name
}

func newPlans(state *compile.State) *plans {
	return &plans{state: state, index: versionsOf(state), made: map[model.Key]plan{}}
}

// share takes over what is as it was, so that sessions see by a pointer that nothing has changed.
func (p *plans) share(before *plans) {
	if *p.index == *before.index {
		p.index = before.index
	}
}

func (p *plans) of(k model.Key) plan {
	p.mu.RLock()
	made, ok := p.made[k]
	p.mu.RUnlock()
	if ok {
		return made
	}
	made = plan{closure: p.state.Closure(k), backends: p.state.Backends(k)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made[k] = made
	return made
}
