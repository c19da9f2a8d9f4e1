package builtin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Names in the directory.
const (
	keyFile  = "root.key"
	rootFile = "root.pem"
)

// files is the directory of an authority. What is missing loads as nil.
type files struct {
	dir string
}

func (f files) loadKey() (*ecdsa.PrivateKey, error) {
	path := filepath.Join(f.dir, keyFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s is open to other users (mode %o): make it 600, and consider its key known", keyFile, mode)
	}
	der, err := readPEM(path, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", keyFile, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read %s: it holds a %T, not an EC key", keyFile, key)
	}
	return ec, nil
}

func (f files) loadRoot() (*x509.Certificate, error) {
	der, err := readPEM(filepath.Join(f.dir, rootFile), "CERTIFICATE")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", rootFile, err)
	}
	if !cert.IsCA {
		return nil, fmt.Errorf("read %s: it is not the certificate of an authority", rootFile)
	}
	return cert, nil
}

func (f files) makeKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make root key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("write root key: %w", err)
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	return key, f.write(keyFile, "PRIVATE KEY", der, 0o600)
}

func (f files) storeRoot(root *x509.Certificate) error {
	return f.write(rootFile, "CERTIFICATE", root.Raw, 0o644)
}

// write replaces a file as a whole: after a crash there is the old content or the new one.
func (f files) write(name, kind string, der []byte, mode fs.FileMode) (err error) {
	tmp, err := os.CreateTemp(f.dir, name+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(tmp.Name()))
		}
	}()
	_, werr := tmp.Write(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	if err := errors.Join(werr, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), filepath.Join(f.dir, name))
}

func readPEM(path, kind string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("read %s: it holds no PEM block %q", filepath.Base(path), kind)
	}
	return block.Bytes, nil
}
