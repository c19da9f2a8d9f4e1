package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/logging"
	"github.com/weft-mesh/weft/services/app"
)

// Parts of a backup.
const (
	partStore = "store"
	partCA    = "ca"
)

// storeFlags say where a store and an authority are, for commands that work on them without a control plane. They have the
// names, and the environment variables, that the control plane's own processes have.
type storeFlags struct {
	trustDomain string
	store       app.StoreSettings
	parts       []string
	passphrase  string
}

func (f *storeFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.trustDomain, "trust-domain", envOr("WEFT_TRUST_DOMAIN", app.Default().TrustDomain), "SPIFFE trust domain")
	flags.StringSliceVar(&f.store.Endpoints, "etcd-endpoints", fields(os.Getenv("WEFT_ETCD_ENDPOINTS")), "etcd cluster (default: the embedded store in --data-dir)")
	flags.StringVar(&f.store.CAFile, "etcd-ca-file", os.Getenv("WEFT_ETCD_CA_FILE"), "CA of the etcd cluster")
	flags.StringVar(&f.store.CertFile, "etcd-cert-file", os.Getenv("WEFT_ETCD_CERT_FILE"), "client certificate for the etcd cluster")
	flags.StringVar(&f.store.KeyFile, "etcd-key-file", os.Getenv("WEFT_ETCD_KEY_FILE"), "key of that certificate")
	flags.StringVar(&f.store.User, "etcd-user", os.Getenv("WEFT_ETCD_USER"), "user of the etcd cluster")
	flags.StringVar(&f.store.PasswordFile, "etcd-password-file", os.Getenv("WEFT_ETCD_PASSWORD_FILE"), "file with that user's password")
	flags.StringSliceVar(&f.parts, "parts", []string{partStore, partCA}, "what to take: the store, the authority's files of --data-dir (ca), or both")
	flags.StringVar(&f.passphrase, "passphrase-file", "", "file with the passphrase that encrypts the backup")
}

func fields(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}

// has says whether a part is wanted.
func (f *storeFlags) has(part string) bool {
	return slices.Contains(f.parts, part)
}

func (f *storeFlags) check() error {
	for _, p := range f.parts {
		if p != partStore && p != partCA {
			return usageError{fmt.Errorf("--parts %q: allowed are %s and %s", p, partStore, partCA)}
		}
	}
	if len(f.parts) == 0 {
		return usageError{errors.New("--parts names nothing")}
	}
	return nil
}

// settings are those of a process that has this store and data directory.
func (f *storeFlags) settings(o *options) *app.Settings {
	s := app.Default()
	s.DataDir, s.TrustDomain, s.Store = o.dataDir, f.trustDomain, f.store
	return s
}

// readPassphrase returns "" when there is to be none.
func (f *storeFlags) readPassphrase() (string, error) {
	if f.passphrase == "" {
		return "", nil
	}
	data, err := os.ReadFile(f.passphrase)
	if err != nil {
		return "", usageError{fmt.Errorf("passphrase: %w", err)}
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" {
		return "", usageError{fmt.Errorf("passphrase: %s is empty", f.passphrase)}
	}
	return text, nil
}

// storeLog lets only errors of the store through: a command tells its own story.
func storeLog() (*zap.Logger, error) {
	return logging.New(logging.Config{Level: "error", Format: "auto"})
}
