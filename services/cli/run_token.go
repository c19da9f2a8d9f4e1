package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/internal/backoff"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
)

// joinToken mints the token that the sidecar redeems. While the control plane is away it waits and says so, at most for the
// command's time limit; with an identity from an earlier run it does not wait, and there is no token: the sidecar can start
// from its state directory, and a control plane that does not answer at all is not waited for either. The code is that of
// `weft run` when there is an error.
func (o *options) joinToken(ctx context.Context, f *runFlags, signals <-chan os.Signal) (token string, exit int, err error) {
	req := &identitypb.CreateJoinTokenRequest{Namespace: o.namespace, Account: f.account}
	if f.service != "" {
		req.Services = []string{f.service}
	}
	retry := backoff.New(100*time.Millisecond, time.Second)
	limit := time.Now().Add(o.timeout)
	stored := storedIdentity(f.stateDir) == "/ns/"+o.namespace+"/sa/"+f.account
	for said := false; ; {
		resp, err := o.tryJoinToken(ctx, req, stored)
		if err == nil {
			return resp.GetToken(), 0, nil
		}
		err = fmt.Errorf("join token for account %s/%s: %w", o.namespace, f.account, err)
		if ExitCode(err) == exitUnavailable && stored {
			fmt.Fprintf(o.streams.Err, "weft: the control plane is away; the sidecar starts from %s\n", f.stateDir)
			return "", 0, nil
		}
		if ExitCode(err) != exitUnavailable || time.Now().After(limit) {
			return "", exitProgramError, err
		}
		if !said {
			said = true
			fmt.Fprintf(o.streams.Err, "weft: %s\nweft: trying on for %s\n", describe(err), o.timeout)
		}
		select {
		case <-time.After(retry.Next()):
		case sig := <-signals:
			number, _ := sig.(syscall.Signal)
			return "", 128 + int(number), fmt.Errorf("stopped by %v before the program was started", sig)
		}
	}
}

// tryJoinToken asks once. With a stored identity to fall back on it does not wait long: a host that cannot be reached at all
// gives no answer, and the program should not have to wait for that.
func (o *options) tryJoinToken(ctx context.Context, req *identitypb.CreateJoinTokenRequest, stored bool) (*identitypb.CreateJoinTokenResponse, error) {
	quick := *o
	if stored {
		const enough = 500 * time.Millisecond
		quick.timeout = min(o.timeout, enough)
	}
	return quick.createJoinToken(ctx, req, "")
}

// storedIdentity is the path of the SPIFFE ID in a state directory's SVID; empty when there is none that is still good. The
// sidecar judges it properly: this only decides whether it is worth a try.
func storedIdentity(dir string) string {
	data, err := os.ReadFile(filepath.Join(dir, "svid.pem"))
	if err != nil {
		return ""
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return ""
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || len(cert.URIs) != 1 || time.Now().After(cert.NotAfter) {
		return ""
	}
	return cert.URIs[0].Path
}
