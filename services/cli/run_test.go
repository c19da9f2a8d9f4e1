package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// keep writes an SVID into a state directory.
func keep(t *testing.T, id string, notAfter time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{uri}, NotAfter: notAfter}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(filepath.Join(dir, "svid.pem"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestC9_RunWithoutAControlPlane: a workload that has an identity starts from its state directory; a new one waits, readably.
func TestC9_RunWithoutAControlPlane(t *testing.T) {
	t.Setenv("WEFT_TOKEN", "none")
	const id = "spiffe://weft.local/ns/default/sa/me"
	for _, tc := range []struct {
		name string
		dir  string
		code int
		says string
	}{
		{"identity of this account", keep(t, id, time.Now().Add(time.Hour)), 0, "starts from"},
		{"identity that ran out", keep(t, id, time.Now().Add(-time.Second)), exitProgramError, "trying on for 150ms"},
		{"identity of another account", keep(t, id+"2", time.Now().Add(time.Hour)), exitProgramError, "trying on"},
		{"no identity", t.TempDir(), exitProgramError, "weft up"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			o := &options{streams: Streams{Err: &out}, gateway: "127.0.0.1:1", namespace: "default", timeout: 150 * time.Millisecond, dataDir: t.TempDir()}
			_, code, err := o.joinToken(t.Context(), &runFlags{account: "me", stateDir: tc.dir}, nil)
			if code != tc.code || (err != nil) != (code != 0) || !strings.Contains(out.String(), tc.says) {
				t.Errorf("code %d, %v, said %q; want %d and something with %q", code, err, out.String(), tc.code, tc.says)
			}
		})
	}
}

// TestC16_ASilentGatewayDoesNotHoldAStart: a control plane whose host takes connections and says nothing is away as well; a
// program with an identity does not wait for the command's time limit, which here is longer than any test.
func TestC16_ASilentGatewayDoesNotHoldAStart(t *testing.T) {
	t.Setenv("WEFT_TOKEN", "none")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var out bytes.Buffer
	o := &options{streams: Streams{Err: &out}, gateway: ln.Addr().String(), namespace: "default", timeout: 24 * time.Hour, dataDir: t.TempDir()}
	dir := keep(t, "spiffe://weft.local/ns/default/sa/me", time.Now().Add(time.Hour))
	token, code, err := o.joinToken(t.Context(), &runFlags{account: "me", stateDir: dir}, nil)
	if token != "" || code != 0 || err != nil || !strings.Contains(out.String(), "starts from "+dir) {
		t.Errorf("token %q, code %d, %v, said %q", token, code, err, out.String())
	}
}

func TestASignalEndsTheWait(t *testing.T) {
	t.Setenv("WEFT_TOKEN", "none")
	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGTERM
	o := &options{streams: Streams{Err: &bytes.Buffer{}}, gateway: "127.0.0.1:1", namespace: "default", timeout: time.Hour, dataDir: t.TempDir()}
	if _, code, err := o.joinToken(t.Context(), &runFlags{account: "me", stateDir: t.TempDir()}, signals); code != 143 || err == nil {
		t.Errorf("code %d, %v, want 143", code, err)
	}
}

// TestPortsOfTheLastRun stay for the sidecar to take them again, and are not taken for those of this run.
func TestPortsOfTheLastRun(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, portsFile)
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(`{"admin":"127.0.0.1:1"}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &sidecar{dir: dir, last: info}
	if s.up() {
		t.Error("the file of the last run was taken for this one's")
	}
	write(file + ".new")
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	if !s.up() {
		t.Error("the new file was not seen")
	}
}
