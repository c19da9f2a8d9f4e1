package discovery

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
)

// fate is one thing that happens to replicas and sidecars.
type fate struct {
	What, Workload, Replica, Seconds int
}

func fates() *rapid.Generator[[]fate] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) fate {
		n := func(name string, limit int) int { return rapid.IntRange(0, limit-1).Draw(t, name) }
		return fate{What: n("what", 10), Workload: n("workload", 5), Replica: n("replica", 3), Seconds: n("seconds", 25)}
	}), 1, 40)
}

// fleet is what really lives: replicas, and at most one stream for each workload.
type fleet struct {
	rig        *rig
	replicas   []*replica
	generation int
	streams    map[string]*sidecar
	at         map[string]*replica // where each stream is
	registered map[string]bool
}

func (f *fleet) replica(n int) *replica { return f.replicas[n%len(f.replicas)] }

func (f *fleet) start() {
	f.generation++
	f.replicas = append(f.replicas, f.rig.start(fmt.Sprintf("r%d", f.generation)))
}

// kill ends a replica and the streams that it held; there is always another one.
func (f *fleet) kill(n int) {
	dead := f.replica(n)
	dead.kill()
	for name, r := range f.at {
		if r == dead {
			f.drop(name)
		}
	}
	kept := f.replicas[:0:0]
	for _, r := range f.replicas {
		if r != dead {
			kept = append(kept, r)
		}
	}
	f.replicas = kept
	if len(f.replicas) == 0 {
		f.start()
	}
}

// hide lets a live replica's peer key vanish, or come back.
func (f *fleet) hide(r *replica) {
	f.rig.mu.Lock()
	defer f.rig.mu.Unlock()
	if i := slices.Index(f.rig.live, r.name); i >= 0 {
		f.rig.live = slices.Delete(slices.Clone(f.rig.live), i, i+1)
	} else {
		f.rig.live = append(f.rig.live, r.name)
	}
}

// show lets every peer key be there again.
func (f *fleet) show() {
	for _, r := range f.replicas {
		if !slices.Contains(f.rig.live, r.name) {
			f.hide(r)
		}
	}
}

func (f *fleet) drop(name string) {
	if s := f.streams[name]; s != nil {
		s.hangUp()
		delete(f.streams, name)
		delete(f.at, name)
	}
}

func (f *fleet) happen(e fate) {
	name := fmt.Sprintf("w%d", e.Workload)
	r := f.replica(e.Replica)
	switch e.What {
	case 0, 1, 2: // a sidecar connects, maybe while its old stream is still there
		old := f.streams[name]
		f.streams[name], f.at[name], f.registered[name] = r.connect("shop", workload(name, "shop")).beat(), r, true
		if old != nil && e.Seconds%2 == 0 {
			old.hangUp()
		}
	case 3:
		f.drop(name)
	case 4:
		if _, err := r.Deregister(as(f.rig.t.Context(), "shop"), &discoverypb.DeregisterRequest{Name: name}); err == nil {
			delete(f.registered, name)
		}
		f.drop(name)
	case 5:
		f.start()
	case 6:
		f.kill(e.Replica)
	case 7:
		f.hide(r)
	default:
		pass(time.Duration(e.Seconds) * time.Second)
	}
}

// kept says what is wrong with the catalogue at any moment: nothing that was registered may be missing.
func (f *fleet) kept() string {
	list, err := f.replicas[0].ListWorkloads(f.rig.t.Context(), &discoverypb.ListWorkloadsRequest{})
	if err != nil || len(list.GetWorkloads()) != len(f.registered) {
		return fmt.Sprintf("want the workloads %v, got %v, %v", f.registered, list, err)
	}
	return ""
}

// settledRight says what is wrong with it once everything has had its time.
func (f *fleet) settledRight() string {
	lost := 0
	for name := range f.registered {
		if f.streams[name] == nil {
			lost++
		}
	}
	for name := range f.registered {
		got, alive := f.replicas[0].state(name), f.streams[name] != nil
		if alive && (got != ready || f.streams[name].ended()) {
			return fmt.Sprintf("%s has a live stream and is %v", name, got)
		}
		if !alive && got != unknown && !(loss{lost, len(f.registered)}).sudden() {
			return fmt.Sprintf("%s has no stream and is %v, with %d of %d lost", name, got, lost, len(f.registered))
		}
	}
	return ""
}

// Whatever happens to replicas and streams, nothing registered is ever forgotten; and when it is quiet again, who has a stream
// is READY, and who has none is UNKNOWN, unless so many went that it is not believed.
func TestLeasesTellTheTruth(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := fates().Draw(rt, "fates")
		var problem string
		synctest.Test(t, func(t *testing.T) { problem = live(newRig(t), script) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

func live(r *rig, script []fate) string {
	f := &fleet{rig: r, streams: map[string]*sidecar{}, at: map[string]*replica{}, registered: map[string]bool{}}
	f.start()
	f.replicas[0].service("shop", "shop")
	for i, e := range script {
		f.happen(e)
		synctest.Wait()
		if problem := f.kept(); problem != "" {
			return fmt.Sprintf("after fate %d %+v: %s", i, e, problem)
		}
	}
	f.show()
	pass(3 * time.Minute)
	return f.settledRight()
}
