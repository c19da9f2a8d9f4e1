package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/gateway"
	"github.com/weft-mesh/weft/services/identity"
	"github.com/weft-mesh/weft/services/internal/backup"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
)

func restoreCommand(o *options) *cobra.Command {
	f := &storeFlags{}
	force := false
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the store and the authority of a control plane that is stopped",
		Long: `Check FILE as a whole, then put its store into the embedded store of --data-dir (or into the cluster of --etcd-endpoints)
and its authority into --data-dir. The control plane has to be stopped: with the embedded store 'weft up', else every process.

The store gets a new epoch: when the control plane starts again, sidecars take everything anew, and nothing that they knew is
mistaken for newer. What was changed since the backup is gone. An access that was revoked since is allowed again: 'weft check'
says for a week that the store was restored, and from when. Join tokens are not restored, because they work once.

What is there already is replaced with --force only. In a data directory it is kept under a name that ends with
.before-restore-<time>; in a cluster it is gone: back it up first.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), max(o.timeout, time.Minute))
			defer cancel()
			return o.restore(ctx, f, args[0], force)
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().BoolVar(&force, "force", false, "replace what is there")
	return cmd
}

func (o *options) restore(ctx context.Context, f *storeFlags, path string, force bool) error {
	if err := f.check(); err != nil {
		return err
	}
	log, err := storeLog()
	if err != nil {
		return err
	}
	a, err := f.open(path)
	if err == nil {
		err = f.fits(a)
	}
	if err == nil {
		err = o.vacant(ctx, f, a, force, log)
	}
	if err != nil {
		return faulty(err)
	}
	now := time.Now()
	if f.has(partCA) {
		if err := backup.WriteFiles(o.dataDir, a.Files, backup.Aside(now)); err != nil {
			return err
		}
	}
	if f.has(partStore) {
		if err := o.restoreStore(ctx, f, a, force, now, log); err != nil {
			return faulty(fmt.Errorf("%w\nThe restore is not complete: when that is mended, run it again with --force", err))
		}
	}
	o.tell(f, a)
	return nil
}

// open reads a file and checks all of it.
func (f *storeFlags) open(path string) (*backup.Archive, error) {
	passphrase, err := f.readPassphrase()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, usageError{fmt.Errorf("backup: %w", err)}
	}
	if backup.Sealed(data) {
		if passphrase == "" {
			return nil, fault.New(fault.Denied, "%s is encrypted: give --passphrase-file", path)
		}
		if data, err = backup.Open(data, passphrase); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	a, err := backup.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// fits says whether an archive has what is wanted, and is of this mesh.
func (f *storeFlags) fits(a *backup.Archive) error {
	switch {
	case a.Manifest.TrustDomain != f.trustDomain:
		return fault.New(fault.Invalid, "the backup is of trust domain %q, not of %q: give --trust-domain if that is meant, and the same to the control plane",
			a.Manifest.TrustDomain, f.trustDomain)
	case f.has(partStore) && a.Store == nil:
		return fault.New(fault.Invalid, "the backup holds no store: restore the rest of it with --parts ca")
	case f.has(partCA) && a.Files[backup.FileRootKey] == nil:
		return fault.New(fault.Invalid, "the backup holds no authority: restore the rest of it with --parts store")
	case f.has(partCA):
		return authorityOf(a.Files, f.trustDomain)
	}
	return nil
}

// authorityOf checks that the certificate among the files is a root of the trust domain.
func authorityOf(files map[string][]byte, trustDomain string) error {
	block, _ := pem.Decode(files[backup.FileRoot])
	if block == nil {
		return fault.New(fault.Invalid, "%s holds no certificate", backup.FileRoot)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "%s", backup.FileRoot)
	}
	if len(cert.URIs) != 1 || cert.URIs[0].String() != "spiffe://"+trustDomain {
		return fault.New(fault.Invalid, "%s is not a root of trust domain %q; is --trust-domain right?", backup.FileRoot, trustDomain)
	}
	return nil
}

// vacant refuses to restore under a running control plane and, without force, to replace anything: before anything is written.
func (o *options) vacant(ctx context.Context, f *storeFlags, a *backup.Archive, force bool, log *zap.Logger) error {
	if f.has(partStore) {
		if err := app.Vacant(ctx, f.settings(o), force, log); err != nil {
			return err
		}
	}
	if there := backup.Holds(o.dataDir, a.Files); f.has(partCA) && len(there) > 0 && !force {
		return fault.New(fault.Conflict, "%s holds %s already; --force replaces them and keeps what was there beside them", o.dataDir, strings.Join(there, ", "))
	}
	return nil
}

func (o *options) restoreStore(ctx context.Context, f *storeFlags, a *backup.Archive, force bool, now time.Time, log *zap.Logger) error {
	key, value, err := gateway.RestoredNote(gateway.Restored{Time: now, Taken: a.Manifest.Time, Revision: a.Manifest.Revision, Epoch: a.Manifest.Epoch})
	if err != nil {
		return fmt.Errorf("note the restore: %w", err)
	}
	key = app.StorePrefix(app.Gateway) + key
	var entries []kv.Entry
	for _, e := range a.Store.Entries {
		of, isIdentity := strings.CutPrefix(e.Key, app.StorePrefix(app.Identity))
		if e.Key != key && !(isIdentity && identity.BackupLeavesOut(of)) {
			entries = append(entries, e)
		}
	}
	return app.RestoreStore(ctx, f.settings(o), append(entries, kv.Entry{Key: key, Value: value}), force, backup.Aside(now), log)
}

// tell says what was done and what is left to do.
func (o *options) tell(f *storeFlags, a *backup.Archive) {
	w := o.streams.Out
	fmt.Fprintf(w, "restored: %s\nas it was on %s (made by weft %s)\n", contentsOf(a), a.Manifest.Time.Format(time.RFC3339), a.Manifest.Version)
	if !f.has(partStore) {
		return
	}
	fmt.Fprintln(w, "The store has a new epoch. Start the control plane; sidecars take everything anew by themselves.")
	fmt.Fprintln(w, "What was changed since the backup is gone, and who was denied since may be allowed again.")
	fmt.Fprintln(w, "Look over who is allowed what (weft get accesspolicies) and who administers (weft token list), and apply again what is missing.")
	if len(f.store.Endpoints) == 0 {
		fmt.Fprintf(w, "The store is in %s.\n", filepath.Join(o.dataDir, "etcd"))
	}
}

// faulty gives a fault of the control plane's own code the exit code that it would have over the network.
func faulty(err error) error {
	var known *fault.Error
	if !errors.As(err, &known) {
		return err
	}
	code := map[fault.Kind]int{
		fault.Invalid: exitInvalid, fault.NotFound: exitNotFound, fault.Exists: exitConflict, fault.Conflict: exitConflict,
		fault.Denied: exitDenied, fault.Unavailable: exitUnavailable,
	}[known.Kind]
	if code == exitOK {
		code = exitError
	}
	return codeError{code, err}
}
