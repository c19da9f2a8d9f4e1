package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/internal/buildinfo"
	"github.com/weft-mesh/weft/services/app"
)

// Streams are where a command reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// Main runs the command line and returns the exit code of the process.
func Main(ctx context.Context, args []string, s Streams) int {
	root := New(s)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !isSilent(err) {
		fmt.Fprintf(s.Err, "weft: %s\n", describe(err))
	}
	return ExitCode(err)
}

// New builds the command tree.
func New(s Streams) *cobra.Command {
	o := &options{streams: s}
	root := &cobra.Command{
		Use:   "weft",
		Short: "A service mesh for programs that know nothing of one",
		Long: `weft gives any program discovery, an identity, mutual TLS, load balancing, traffic control,
resiliency and observability, through a sidecar next to it.

  weft up                                      start a control plane on this machine
  weft run --service web --port 8080 -- ./web  start a program in the mesh
  weft apply -f canary.yaml --wait             change something, return when it is in force
  weft top                                     who talks to whom, how well`,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains([]string{"", "json", "yaml"}, o.output) {
				return usageError{fmt.Errorf("--output %q: allowed are json and yaml", o.output)}
			}
			return o.useHost(cmd)
		},
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       buildinfo.Version(),
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\nSee `%s --help`", err, cmd.CommandPath())}
	})
	o.addFlags(root)
	root.AddCommand(
		upCommand(), runCommand(o), joinCommand(o), leaveCommand(o), applyCommand(o), getCommand(o), deleteCommand(o), servicesCommand(o),
		statusCommand(o), topCommand(o), checkCommand(o), configCommand(o), tokenCommand(o), auditCommand(o), whoAmICommand(o),
		backupCommand(o), restoreCommand(o), sidecarCommand(o),
		versionCommand(o),
	)
	wrapUsage(root)
	return root
}

// wrapUsage marks wrong arguments as usage errors, in the whole tree: those of a command that only has commands too.
func wrapUsage(cmd *cobra.Command) {
	if cmd.HasParent() && !cmd.Runnable() {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			var names []string
			for _, c := range cmd.Commands() {
				names = append(names, c.Name())
			}
			return usageError{fmt.Errorf("%s needs one of %s%s", cmd.CommandPath(), strings.Join(names, ", "), instead(args))}
		}
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		wrapUsage(c)
	}
}

func instead(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return fmt.Sprintf(", not %q", args[0])
}

// options are the flags that every command has.
type options struct {
	streams   Streams
	gateway   string
	tokenFile string
	caFile    string
	certFile  string
	keyFile   string
	dataDir   string
	runDir    string
	namespace string
	output    string
	timeout   time.Duration
}

func (o *options) addFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&o.gateway, "gateway", envOr("WEFT_GATEWAY", "127.0.0.1:9701"),
		"address of the gateway's gRPC port; of its replicas, comma-separated (default on a joined host: what it was told)")
	f.StringVar(&o.dataDir, "data-dir", envOr("WEFT_DATA_DIR", app.Default().DataDir), "directory of this machine's mesh data")
	f.StringVar(&o.runDir, "run-dir", envOr("WEFT_RUN_DIR", app.Default().RunDir), "directory of what this machine's running programs need")
	f.StringVar(&o.tokenFile, "token-file", os.Getenv("WEFT_TOKEN_FILE"),
		"file with the caller's token (default <data-dir>/admin.token, on a joined host host.token; WEFT_TOKEN holds the token itself)")
	f.StringVar(&o.caFile, "ca", os.Getenv("WEFT_CA"), "file with the trust bundle, for a gateway on another machine (default <data-dir>/bundle.pem)")
	f.StringVar(&o.certFile, "cert", os.Getenv("WEFT_CERT"), "file with an SVID to call with instead of a token, for a gateway that serves TLS")
	f.StringVar(&o.keyFile, "key", os.Getenv("WEFT_KEY"), "file with the key of the SVID")
	f.StringVarP(&o.namespace, "namespace", "n", envOr("WEFT_NAMESPACE", "default"), "namespace of objects that name none")
	f.StringVarP(&o.output, "output", "o", "", "json or yaml instead of text for people")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "time for the control plane to answer")
}

func envOr(key, fallback string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return fallback
}
