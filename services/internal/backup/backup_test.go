package backup

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
)

func example() *Archive {
	return &Archive{
		Manifest: Manifest{Version: "v1", TrustDomain: "weft.local", Time: time.Unix(1_700_000_000, 0).UTC()},
		Store: &Snapshot{Epoch: "e", Revision: 7, Entries: []kv.Entry{
			{Key: "/weft/policy/v1/routes/default/b", Value: []byte{0, 1, 255}}, {Key: "/weft/identity/v1/roots/default/a", Value: []byte{}},
		}},
		Files: map[string][]byte{FileRootKey: []byte("key"), FileRoot: []byte("root"), FileAdminToken: []byte("token")},
	}
}

func encode(t testing.TB, a *Archive) []byte {
	t.Helper()
	data, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDecodeGivesBackWhatWasEncoded(t *testing.T) {
	want := example()
	got, err := Decode(encode(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
}

func TestDecodeRefusesWhatIsNotWhole(t *testing.T) {
	whole := encode(t, example())
	for n := range whole {
		if _, err := Decode(whole[:n]); !fault.Is(err, fault.Invalid) {
			t.Fatalf("cut off after %d of %d bytes: %v", n, len(whole), err)
		}
	}
	for i := 10; i < len(whole); i++ { // before that are the date and system of gzip, which mean nothing
		bad := bytes.Clone(whole)
		bad[i] ^= 0x20
		if got, err := Decode(bad); err == nil {
			if diff := cmp.Diff(example().Files, got.Files); diff != "" || got.Manifest.TrustDomain != "weft.local" {
				t.Fatalf("byte %d was changed and nobody saw it", i)
			}
		}
	}
	for name, spoil := range map[string]func(*Archive){
		"restore it with weft": func(a *Archive) { a.Manifest.Version = "v9" },
		"is not the mesh's":    func(a *Archive) { a.Store.Entries[0].Key = "/elsewhere" },
	} {
		a := example()
		spoil(a)
		data := encode(t, a)
		if a.Manifest.Version == "v9" {
			a.Manifest.Format = "weft-backup/2"
			data = repack(t, a)
		}
		if _, err := Decode(data); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v does not say %q", err, name)
		}
	}
	if _, err := Decode([]byte("hello")); err == nil || !strings.Contains(err.Error(), "no backup of a mesh") {
		t.Errorf("a foreign file: %v", err)
	}
}

// repack encodes a manifest of another format.
func repack(t *testing.T, a *Archive) []byte {
	t.Helper()
	a.Manifest.Parts = nil
	data, err := a.pack([]byte(`{"format":"`+a.Manifest.Format+`","version":"v9","trustDomain":"x"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSeal(t *testing.T) {
	data := encode(t, example())
	box, err := seal(data, "correct horse", 10)
	if err != nil || !Sealed(box) || Sealed(data) || bytes.Contains(box, []byte("manifest")) {
		t.Fatalf("seal: %v", err)
	}
	if got, err := Open(box, "correct horse"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("Open: %v", err)
	}
	if _, err := Open(box, "wrong"); !fault.Is(err, fault.Denied) {
		t.Errorf("wrong passphrase: %v", err)
	}
	if _, err := Open(box[:len(box)-3], "correct horse"); err == nil {
		t.Error("a sealed file that was cut off was opened")
	}
}

func TestFilesOfADataDirectory(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadFiles(dir); !fault.Is(err, fault.NotFound) {
		t.Errorf("ReadFiles of an empty directory: %v", err)
	}
	want := example().Files
	for range 2 {
		if err := WriteFiles(dir, want, ".old"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadFiles(dir)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, files (-want +got):\n%s", err, diff)
	}
	for name, mode := range map[string]os.FileMode{FileRootKey: 0o600, FileAdminToken: 0o600, FileRootKey + ".old": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if diff := cmp.Diff([]string{FileRootKey, FileRoot, FileAdminToken}, Holds(dir, want)); diff != "" {
		t.Errorf("Holds (-want +got):\n%s", diff)
	}
}

// source is a store whose epoch may change while it is read.
type source struct{ epochs []string }

func (s *source) Epoch(context.Context) (string, error) {
	epoch := s.epochs[0]
	s.epochs = s.epochs[1:]
	if epoch == "" {
		return "", errors.New("away")
	}
	return epoch, nil
}

func (s *source) Export(context.Context, string) ([]kv.Entry, int64, error) {
	return example().Store.Entries, 7, nil
}

func TestTakeIsOfOneStore(t *testing.T) {
	got, err := Take(t.Context(), &source{[]string{"e", "e"}})
	if diff := cmp.Diff(example().Store, got); err != nil || diff != "" {
		t.Errorf("%v, snapshot (-want +got):\n%s", err, diff)
	}
	for _, epochs := range [][]string{{"a", "b"}, {"", "a"}, {"a", ""}} {
		if _, err := Take(t.Context(), &source{epochs}); err == nil {
			t.Errorf("epochs %q: no error", epochs)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(f, example()))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Decode(encode(t, a))
		if err != nil {
			t.Fatalf("what was decoded cannot be encoded and decoded: %v", err)
		}
		if diff := cmp.Diff(a.Files, again.Files); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	})
}
