package logging

import (
	"fmt"
	"io"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// Formats of the log.
const (
	// Auto is Console on a terminal, else JSON.
	Auto    = "auto"
	JSON    = "json"
	Console = "console"
)

// Keys of fields that several parts write, so that one search finds them all.
const (
	KeyService   = "service"
	KeyReplica   = "replica"
	KeySidecar   = "sidecar"
	KeySPIFFEID  = "spiffe_id"
	KeyAddress   = "address"
	KeyRevision  = "revision"
	KeyReason    = "reason"
	KeyExpiresAt = "expires_at"
)

// Config of a logger.
type Config struct {
	// Level is debug, info, warn or error; empty means info.
	Level string
	// Format is Auto, JSON or Console; empty means Auto.
	Format string
	// Out is where lines go; nil means stderr.
	Out io.Writer
}

// New makes the logger of a process.
func New(cfg Config) (*zap.Logger, error) {
	level := zapcore.InfoLevel
	if cfg.Level != "" {
		var err error
		if level, err = zapcore.ParseLevel(cfg.Level); err != nil {
			return nil, fmt.Errorf("log level %q: use debug, info, warn or error", cfg.Level)
		}
	}
	out := cfg.Out
	if out == nil {
		out = os.Stderr
	}
	enc, err := encoder(cfg.Format, out)
	if err != nil {
		return nil, err
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(out)), level)), nil
}

func encoder(format string, out io.Writer) (zapcore.Encoder, error) {
	keys := zapcore.EncoderConfig{
		TimeKey: "ts", LevelKey: "level", NameKey: "logger", MessageKey: "msg", StacktraceKey: "stack",
		LineEnding:     zapcore.DefaultLineEnding,
		EncodeTime:     zapcore.RFC3339NanoTimeEncoder,
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.StringDurationEncoder,
	}
	if (format == "" || format == Auto) && isTerminal(out) {
		format = Console
	}
	switch format {
	case Console:
		keys.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		keys.EncodeLevel = zapcore.CapitalLevelEncoder
		keys.ConsoleSeparator = "  "
		return zapcore.NewConsoleEncoder(keys), nil
	case "", Auto, JSON:
		return zapcore.NewJSONEncoder(keys), nil
	}
	return nil, fmt.Errorf("log format %q: use %s, %s or %s", format, Auto, JSON, Console)
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
