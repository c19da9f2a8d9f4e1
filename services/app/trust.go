package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/atomicfile"
	"github.com/weft-mesh/weft/services/internal/selfid"
)

// keep makes what keeps a unit's SVID fresh: by the authority in this process when there is one, and then in memory only,
// else by the identity service elsewhere, and then with files to restart from while that is down.
func (p *process) keep(u *unit, local selfid.Issuer) error {
	cfg := selfid.Config{Service: u.name, TrustDomain: p.trustDomain}
	issuer := local
	if local == nil {
		cfg.Dir = filepath.Join(p.Settings.DataDir, "svids", u.name)
		u.remote = selfid.NewRemote(selfid.RemoteConfig{
			TrustDomain: p.trustDomain,
			Addresses:   p.Settings.Addresses.Identity,
			Fallback:    p.Settings.AddressesOf(Identity),
			Trust:       u.trust,
			Token: func() (string, error) {
				return joinToken(p.Settings.Identity.JoinTokenFile, u.name, len(p.units) == 1)
			},
		})
		issuer = u.remote
	}
	var err error
	u.keeper, err = selfid.New(cfg, issuer, u.trust, u.log.Named("selfid"))
	return err
}

// joinToken reads a service's join token: a line "<service> <token>", or the only line when the process has one service.
func joinToken(path, service string, only bool) (string, error) {
	if path == "" {
		return "", fmt.Errorf("%s has no valid SVID and no join token: make one for account weft-system/%s and name its file with --join-token-file", service, service)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read join token: %w", err)
	}
	defer func() { _ = f.Close() }()
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		switch fields := strings.Fields(scan.Text()); {
		case len(fields) == 2 && fields[0] == service:
			return fields[1], nil
		case len(fields) == 1 && only:
			return fields[0], nil
		}
	}
	return "", errors.Join(scan.Err(), fmt.Errorf("file %q holds no join token of %s", path, service))
}

// BundleFile is the trust bundle in the data directory, by which people's programs recognize the control plane.
const BundleFile = "bundle.pem"

// writeBundle keeps the file up to date until ctx ends.
func (p *process) writeBundle(ctx context.Context) error {
	trust := p.units[0].trust
	var written *x509bundle.Bundle
	for {
		changed := trust.Changed()
		if m := trust.Load(); m != nil && (written == nil || !written.Equal(m.Bundle)) {
			if err := saveBundle(filepath.Join(p.Settings.DataDir, BundleFile), m); err != nil {
				p.Log.Error("trust bundle not written", zap.Error(err)) // it is for others: this process goes on
			}
			written = m.Bundle
			p.bundled.Store(true)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func saveBundle(path string, m *spiffe.Material) error {
	text, err := m.Bundle.Marshal()
	if err != nil {
		return fmt.Errorf("encode trust bundle: %w", err)
	}
	return atomicfile.Write(path, text, 0o644) // certificates are public
}
