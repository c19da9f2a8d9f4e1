package selfid

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/atomicfile"
)

// Key and certificates share one file, so that one rename replaces both: they are never of two SVIDs.
const (
	svidFile   = "svid.pem"
	bundleFile = "bundle.pem"
)

// PEM block types.
const (
	pemKey         = "PRIVATE KEY"
	pemCertificate = "CERTIFICATE"
)

// restore reads what an earlier process has kept, or returns nil when there is nothing that still works.
func (k *Keeper) restore() *spiffe.Material {
	if k.cfg.Dir == "" {
		return nil
	}
	m, err := k.load()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		k.log.Warn("kept SVID is of no use; asking for a new one", zap.String("dir", k.cfg.Dir), zap.Error(err))
		return nil
	}
	k.log.Info("kept SVID restored", zap.Stringer("spiffe_id", m.ID), zap.Time("expires_at", m.NotAfter()))
	return m
}

func (k *Keeper) load() (*spiffe.Material, error) {
	text, err := os.ReadFile(filepath.Join(k.cfg.Dir, svidFile))
	if err != nil {
		return nil, fmt.Errorf("read kept SVID: %w", err)
	}
	key, chain, err := parseSVID(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", svidFile, err)
	}
	bundle, err := x509bundle.Load(k.cfg.TrustDomain, filepath.Join(k.cfg.Dir, bundleFile))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", bundleFile, err)
	}
	return k.material(chain, key, bundle)
}

func parseSVID(text []byte) (*ecdsa.PrivateKey, []*x509.Certificate, error) {
	var key *ecdsa.PrivateKey
	var der [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case pemCertificate:
			der = append(der, block.Bytes)
		case pemKey:
			parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, nil, fmt.Errorf("private key: %w", err)
			}
			ec, ok := parsed.(*ecdsa.PrivateKey)
			if !ok {
				return nil, nil, fmt.Errorf("private key is a %T, expected EC", parsed)
			}
			key = ec
		}
	}
	if key == nil {
		return nil, nil, errors.New("no private key")
	}
	chain, err := spiffe.Certificates(der)
	return key, chain, err
}

// save keeps material for the next process. A full disk must not stop this one.
func (k *Keeper) save(m *spiffe.Material) {
	if k.cfg.Dir == "" {
		return
	}
	if err := k.write(m); err != nil {
		k.log.Error("own SVID not kept; a restart will need identity", zap.String("dir", k.cfg.Dir), zap.Error(err))
	}
}

func (k *Keeper) write(m *spiffe.Material) error {
	if err := os.MkdirAll(k.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("make directory of kept SVID: %w", err)
	}
	bundle, err := m.Bundle.Marshal()
	if err != nil {
		return fmt.Errorf("encode bundle: %w", err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(m.Certificate.PrivateKey)
	if err != nil {
		return fmt.Errorf("encode private key: %w", err)
	}
	var svid bytes.Buffer
	_ = pem.Encode(&svid, &pem.Block{Type: pemKey, Bytes: key}) // a buffer takes everything
	for _, der := range m.Certificate.Certificate {
		_ = pem.Encode(&svid, &pem.Block{Type: pemCertificate, Bytes: der})
	}
	// The bundle first: an SVID with a bundle that is newer still works, the other way round it may not.
	return errors.Join(
		atomicfile.Write(filepath.Join(k.cfg.Dir, bundleFile), bundle, 0o600),
		atomicfile.Write(filepath.Join(k.cfg.Dir, svidFile), svid.Bytes(), 0o600))
}
