package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/internal/buildinfo"
	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/internal/atomicfile"
	"github.com/weft-mesh/weft/services/internal/backup"
)

func backupCommand(o *options) *cobra.Command {
	f := &storeFlags{}
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write the store and the authority of this machine's control plane into a file",
		Long: `Write what is in the store, the authority's key and certificate, the bundle and the first administrator's token into FILE
(mode 0600). The store is read at one revision; the control plane may run meanwhile.

Without --etcd-endpoints the store is the embedded one of 'weft up' in --data-dir, through the running process or, when none
runs, from its files. It takes the rights to read that directory, and no token. Every replica of identity has an authority of
its own: back up the others with --parts ca.

Without a passphrase FILE holds the authority's key as it is: who can read it can make any identity of the mesh.`,
		Example: `  weft backup mesh.weft
  weft backup mesh.weft --etcd-endpoints http://10.0.0.5:2379 --data-dir /var/lib/weft --passphrase-file pass`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
			defer cancel()
			return o.backup(ctx, f, args[0])
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func (o *options) backup(ctx context.Context, f *storeFlags, path string) error {
	if err := f.check(); err != nil {
		return err
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return codeError{exitConflict, fmt.Errorf("%s is there already, and a backup replaces nothing", path)}
	}
	passphrase, err := f.readPassphrase()
	if err != nil {
		return err
	}
	a, err := o.take(ctx, f)
	if err != nil {
		return faulty(err)
	}
	data, err := a.Encode()
	if err == nil && passphrase != "" {
		data, err = backup.Seal(data, passphrase)
	}
	if err == nil {
		err = atomicfile.Write(path, data, 0o600)
	}
	if err != nil {
		return faulty(err)
	}
	if passphrase == "" && a.Files[backup.FileRootKey] != nil {
		fmt.Fprintf(o.streams.Err, "%s holds the authority's key as it is: keep it as safe as that, or use --passphrase-file\n", path)
	}
	fmt.Fprintf(o.streams.Out, "%s: %s\n", path, contentsOf(a))
	return nil
}

// take reads the store first: files of the authority that are younger than it do no harm, but not the other way round.
func (o *options) take(ctx context.Context, f *storeFlags) (*backup.Archive, error) {
	a := &backup.Archive{Manifest: backup.Manifest{Version: buildinfo.Version(), TrustDomain: f.trustDomain, Time: time.Now().UTC().Truncate(time.Second)}}
	log, err := storeLog()
	if err != nil {
		return nil, err
	}
	if f.has(partStore) {
		if a.Store, err = app.Snapshot(ctx, f.settings(o), log); err != nil {
			return nil, err
		}
	}
	if f.has(partCA) {
		if a.Files, err = backup.ReadFiles(o.dataDir); err != nil {
			return nil, err
		}
		if err := authorityOf(a.Files, f.trustDomain); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// contentsOf is an archive in a few words.
func contentsOf(a *backup.Archive) string {
	text := "trust domain " + a.Manifest.TrustDomain
	if a.Store != nil {
		text += fmt.Sprintf(", %d keys of the store at revision %d", a.Manifest.Keys, a.Manifest.Revision)
	}
	if a.Files[backup.FileRootKey] != nil {
		text += ", the authority"
	}
	return text
}
