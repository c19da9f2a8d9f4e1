package chaos

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/integration/harness"
)

// TestC9_RestoredFromASnapshot: the cluster is restored, as etcd's manual says, from a snapshot that is older than what the
// running control plane and the sidecars know. All of it comes down to the restored state, says so, and goes on from there.
func TestC9_RestoredFromASnapshot(t *testing.T) {
	w := newWorld(t, 1)
	_, err := w.allow(t.Context(), "good", "other")
	must(t, err)
	file := filepath.Join(w.dir, "snapshot.db")
	w.save(file)

	denied, err := w.allow(t.Context(), "good")
	must(t, err)
	must(t, w.applied(t.Context(), denied))
	if a := ask(t.Context(), w.other); a.status != http.StatusForbidden {
		t.Fatalf("denied and applied: %v", a)
	}
	later := w.newLedger("later")
	later.more(30)
	later.stop()
	port := w.newPort()
	w.program("reviews-3", "--service", "reviews", "--port", port, "--label", "version=v3", "--",
		filepath.Join(w.bin, "weft-shop"), "reviews", "--listen", "127.0.0.1:"+port, "--version", "v3")
	w.eventually("reviews-3 is registered", func() error { return w.has("reviews-3") })

	requests := w.steady()
	for _, m := range w.Members() {
		m.Kill()
	}
	must(t, w.Replace(func(m *harness.Member, cluster, token string) error {
		return snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
			SnapshotPath: file, Name: m.Name, OutputDataDir: m.Dir, PeerURLs: []string{m.PeerURL}, InitialCluster: cluster, InitialClusterToken: token,
		})
	}))
	w.whole(sidecars + 1)
	w.eventually("what was not in the snapshot registers again by itself", func() error { return w.has("reviews-3") })

	// The old revision is no longer anybody's, although its number is greater than the store's.
	got, err := w.convergence.GetConvergence(t.Context(), &configpb.GetConvergenceRequest{
		Target: &typepb.RevisionVector{Revisions: []*typepb.SourceRevision{denied}},
	})
	if err != nil || got.GetConvergence().GetConverged() {
		t.Errorf("a change that was lost counts as in force: %v, %v", got, err)
	}
	// What was revoked after the snapshot is allowed again, and that is told, counted and mended by the next write.
	w.eventually("the restored policy is in force", func() error { return ask(t.Context(), w.other).failure() })
	log, err := os.ReadFile(filepath.Join(w.dir, "mesh", "policy-1.log"))
	must(t, err)
	if !strings.Contains(string(log), "has been restored or made anew") || !strings.Contains(string(log), "AccessPolicy default/later-0") {
		t.Error("policy does not say what a restore took")
	}
	if w.metric("policy", "weft_policy_watch_resets_total", `reason="other_epoch"`) == 0 || w.metric("distributor", "weft_distributor_resets_total", `source="policy"`) == 0 {
		t.Error("the resync is not counted")
	}
	denied, err = w.allow(t.Context(), "good")
	must(t, err)
	must(t, w.applied(t.Context(), denied))
	if a := ask(t.Context(), w.other); a.status != http.StatusForbidden {
		t.Errorf("denied again and applied: %v", a)
	}
	w.more(requests, 50)
	requests.stop()
}

// save writes a snapshot of the cluster, as etcdctl does.
func (w *world) save(file string) {
	w.t.Helper()
	r, err := w.etcd(w.leader()).Snapshot(w.t.Context())
	must(w.t, err)
	defer r.Close()
	f, err := os.Create(file)
	must(w.t, err)
	_, err = io.Copy(f, r)
	must(w.t, err)
	must(w.t, f.Close())
}

// has returns an error unless a workload is registered and ready.
func (w *world) has(name string) error {
	states, err := w.states()
	if err == nil && states[name] != "WORKLOAD_STATE_READY" {
		err = &missing{name, states[name]}
	}
	return err
}

type missing struct{ name, state string }

func (m *missing) Error() string { return m.name + " is not ready: " + m.state }
