package discovery

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

const catalogue = `
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {name: redis}
spec: {accounts: [redis], ports: [{port: 6379, protocol: tcp}]}
---
apiVersion: weft.dev/v1alpha1
kind: Workload
metadata: {name: redis-1}
spec: {account: redis, services: [redis], address: 10.0.0.9, ports: [{port: 6379}]}
`

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r *replica) names() []string {
	r.rig.t.Helper()
	list, err := r.ListServices(r.rig.t.Context(), &discoverypb.ListServicesRequest{})
	if err != nil {
		r.rig.t.Fatal(err)
	}
	var out []string
	for _, s := range list.GetServices() {
		out = append(out, s.GetMetadata().GetName())
	}
	return out
}

// Row C9: what a static file says is restored when somebody deletes or alters it, and goes when it has gone from the file.
func TestC9_StaticObjectsAreRepaired(t *testing.T) {
	path := filepath.Join(t.TempDir(), "static.yaml")
	write(t, path, catalogue)
	inBubble(t, func(r *rig) {
		d := r.start("a", path)
		pass(time.Second)
		if diff := cmp.Diff([]string{"redis-1"}, d.endpoints("redis")); diff != "" {
			t.Fatalf("after the start (-want +got):\n%s", diff)
		}
		first := d.workload("redis-1")
		if got := first.GetMetadata().GetOrigin(); got != "static:"+path || first.GetStatus().GetState() != ready {
			t.Errorf("want the file as origin and READY, got %v", first)
		}

		if _, err := d.DeleteService(t.Context(), &discoverypb.DeleteServiceRequest{Name: "redis"}); err != nil {
			t.Fatal(err)
		}
		altered := workload("redis-1")
		altered.Spec.Account = "evil"
		if _, err := d.UpdateWorkload(t.Context(), &discoverypb.UpdateWorkloadRequest{Workload: altered}); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if diff := cmp.Diff([]string{"redis-1"}, d.endpoints("redis")); diff != "" {
			t.Errorf("after repair (-want +got):\n%s", diff)
		}

		write(t, path, strings.Split(catalogue, "---")[0])
		pass(Default().Reread + time.Second)
		if diff := cmp.Diff([]string{"redis"}, d.names()); diff != "" || len(d.endpoints("redis")) != 0 {
			t.Errorf("after the workload left the file: %v (-want +got):\n%s", d.endpoints("redis"), diff)
		}
	})
}

// Row C7: reading an unchanged file again makes no revision.
func TestC7_UnchangedFileMakesNoRevision(t *testing.T) {
	path := filepath.Join(t.TempDir(), "static.yaml")
	write(t, path, catalogue)
	inBubble(t, func(r *rig) {
		d := r.start("a", path)
		pass(time.Second)
		before := d.workload("redis-1").GetMetadata().GetEtag()
		pass(time.Hour)
		if got := d.workload("redis-1").GetMetadata().GetEtag(); got != before {
			t.Errorf("want etag %q still, got %q", before, got)
		}
	})
}

// Row C10: a broken object in a file blocks no other one, keeps its own last good version, and is reported.
func TestC10_BrokenStaticObjectBlocksNoOther(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		problems   float64
	}{
		{"unknown field", "apiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: {name: redis}\nspec: {acounts: []}\n", 1},
		{"broken rule", "apiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: {name: redis}\nspec: {accounts: [A]}\n", 1},
		{"there twice", strings.Split(catalogue, "---")[0] + "---" + strings.Split(catalogue, "---")[0], 1},
		{"another kind", strings.Split(catalogue, "---")[0] + "---\napiVersion: weft.dev/v1alpha1\nkind: Route\nmetadata: {name: r}\nspec: {service: a}\n", 1},
		{"kind misspelt", "apiVersion: weft.dev/v1alpha1\nkind: Servise\nmetadata: {name: redis}\n", 1},
		{"no name", "apiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: {nmae: redis}\n", 1},
		{"not YAML at the end", "---\na: [", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "static.yaml")
			write(t, path, catalogue)
			inBubble(t, func(r *rig) {
				d := r.start("a", path)
				pass(time.Second)
				extra := "apiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: {name: extra}\n---\n"
				write(t, path, extra+tc.text)
				pass(Default().Reread + time.Second)
				if diff := cmp.Diff([]string{"extra", "redis"}, d.names()); diff != "" {
					t.Errorf("services (-want +got):\n%s", diff)
				}
				if got := testutil.ToFloat64(d.metrics.static.WithLabelValues(path)); got != tc.problems {
					t.Errorf("problems: want %v, got %v", tc.problems, got)
				}
			})
		})
	}
}

func TestMissingFileKeepsWhatItSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "static.yaml")
	write(t, path, catalogue)
	inBubble(t, func(r *rig) {
		d := r.start("a", path)
		pass(time.Second)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if diff := cmp.Diff([]string{"redis"}, d.names()); diff != "" {
			t.Errorf("services (-want +got):\n%s", diff)
		}
	})
}

func TestStaticFileTouchesNothingOfPeople(t *testing.T) {
	path := filepath.Join(t.TempDir(), "static.yaml")
	write(t, path, catalogue)
	inBubble(t, func(r *rig) {
		first := r.start("a")
		mine := first.service("redis", "mine")
		d := r.start("b", path)
		pass(time.Minute)
		if got := len(d.endpoints("redis")); got != 0 { // "a" leads and has no file
			t.Errorf("want no endpoint while another replica leads, got %d", got)
		}
		first.kill()
		pass(time.Minute)
		got, err := d.GetService(t.Context(), &discoverypb.GetServiceRequest{Name: "redis"})
		if err != nil || got.GetService().GetMetadata().GetEtag() != mine.GetMetadata().GetEtag() {
			t.Errorf("want the service as its author left it, got %v, %v", got, err)
		}
		if problems := testutil.ToFloat64(d.metrics.static.WithLabelValues(path)); problems != 1 {
			t.Errorf("want one problem reported, got %v", problems)
		}
		if d.workload("redis-1").GetMetadata().GetOrigin() == "" {
			t.Error("the file's other object must be there")
		}
	})
}

func TestFilesAreWatched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "static.yaml")
	write(t, path, catalogue)
	changed := watchFiles(t.Context(), []string{path}, zap.NewNop())
	write(t, path+".new", "")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	<-changed
}

func TestSidecarMayNotTakeAStaticWorkload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "static.yaml")
	write(t, path, catalogue)
	inBubble(t, func(r *rig) {
		d := r.start("a", path)
		pass(time.Second)
		s := d.connect("redis", &discoverypb.Workload{Metadata: &typepb.ObjectMeta{Name: "redis-1"}, Spec: workload("", "redis").GetSpec()})
		if !s.ended() || !strings.Contains(s.err.Error(), path) {
			t.Errorf("want a refusal that names the file, got %v", s.err)
		}
	})
}
