package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/internal/control"
)

// upgradeLimit is longer than a sidecar waits for its new process by default: it gives up first, and says why.
const upgradeLimit = 5 * time.Minute

func sidecarCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "sidecar", Short: "Look after the sidecars of this host"}
	cmd.AddCommand(upgradeCommand(o))
	return cmd
}

func upgradeCommand(o *options) *cobra.Command {
	var binary, stateDir string
	cmd := &cobra.Command{
		Use:   "upgrade [WORKLOAD...]",
		Short: "Replace running sidecars by new processes, without losing a request",
		Long: `Replace the sidecars of this host, or of some of its workloads, by new processes of the program that is on disk now, one
after the other. No request is lost, the programs are not touched, and the workloads stay in the catalogue. Connections
that are open live on in the old process until they end, or for ten minutes (WEFT_UPGRADE_DRAIN of the sidecar).

When the new process does not start, or does not serve in time, it is ended and the old one goes on as if nothing had
happened; the command then ends with exit code 1 and says why. It needs no control plane, and the rights of the user
that the sidecar runs as.`,
		Example: `  weft sidecar upgrade                                    # all sidecars of this host
  weft sidecar upgrade reviews-1 --binary ./weft-proxy`,
		RunE: func(cmd *cobra.Command, workloads []string) error {
			if binary != "" {
				path, err := filepath.Abs(binary)
				if err != nil {
					return usageError{fmt.Errorf("--binary: %w", err)}
				}
				binary = path
			}
			dirs, err := o.sidecarDirs(workloads, stateDir)
			if err != nil {
				return err
			}
			return o.upgradeSidecars(cmd.Context(), dirs, len(workloads) > 0 || stateDir != "", binary)
		},
	}
	cmd.Flags().StringVar(&binary, "binary", "", "program of the new process (default: that of the running one, as it is on disk now)")
	cmd.Flags().StringVar(&stateDir, "state-dir", "", "state directory of the one sidecar that is meant, if it is not the default")
	return cmd
}

// sidecarDirs are the state directories of workloads; of all that this host has, when none is named.
func (o *options) sidecarDirs(workloads []string, stateDir string) ([]string, error) {
	all := filepath.Join(o.dataDir, "sidecars")
	if stateDir != "" {
		if len(workloads) > 1 {
			return nil, usageError{errors.New("--state-dir is that of one workload")}
		}
		return []string{stateDir}, nil
	}
	var dirs []string
	for _, w := range workloads {
		namespace, name, ok := strings.Cut(w, "/")
		if !ok {
			namespace, name = o.namespace, w
		}
		dirs = append(dirs, filepath.Join(all, namespace+"."+name))
	}
	if len(workloads) > 0 {
		return dirs, nil
	}
	entries, err := os.ReadDir(all)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("sidecars of this host: %w", err)
	}
	for _, e := range entries {
		dirs = append(dirs, filepath.Join(all, e.Name()))
	}
	return dirs, nil
}

// upgradeSidecars goes on after a failure: each sidecar is one of its own. named: that one does not run is a failure.
func (o *options) upgradeSidecars(ctx context.Context, dirs []string, named bool, binary string) error {
	tried, failed := 0, 0
	for _, dir := range dirs {
		name := filepath.Base(dir)
		m, err := upgradeSidecar(ctx, dir, binary)
		if !named && errors.Is(err, control.ErrNobody) {
			continue
		}
		tried++
		if err != nil {
			failed++
			fmt.Fprintf(o.streams.Err, "%s: not upgraded: %s\n", name, err)
			continue
		}
		fmt.Fprintf(o.streams.Out, "%s: upgraded to process %d, version %s\n", name, m.PID, m.Version)
	}
	switch {
	case tried == 0:
		return codeError{exitNotFound, fmt.Errorf("no sidecar runs with a state directory in %s", filepath.Join(o.dataDir, "sidecars"))}
	case failed > 0:
		return codeError{code: exitError}
	}
	return nil
}

func upgradeSidecar(ctx context.Context, dir, binary string) (control.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, upgradeLimit)
	defer cancel()
	conn, err := control.Dial(ctx, dir)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%s: %w", dir, control.ErrNobody)
	}
	if err != nil {
		return control.Message{}, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.Send(control.Message{Kind: control.Upgrade, Binary: binary}); err != nil {
		return control.Message{}, err
	}
	m, err := conn.Expect(ctx, control.Upgraded)
	switch {
	case errors.Is(err, io.EOF):
		return m, errors.New("the sidecar ended before it answered; see its log")
	case err != nil:
		return m, err
	case m.Error != "":
		return m, errors.New(m.Error)
	}
	return m, nil
}
