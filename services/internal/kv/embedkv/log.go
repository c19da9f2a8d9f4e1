package embedkv

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// bornEmpty is what etcd reports as an error, once, in the first second of every new data directory, and then mends itself.
const bornEmpty = "failed to update storage version"

// quiet lets etcd's errors through, and nothing else: it tells every step at info, and its warnings are about slow disks.
func quiet(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel), zap.WrapCore(func(c zapcore.Core) zapcore.Core { return filter{c} }))
}

// filter drops the one message.
type filter struct{ zapcore.Core }

// With keeps the filter on loggers with fields.
func (f filter) With(fields []zapcore.Field) zapcore.Core { return filter{f.Core.With(fields)} }

// Check refuses the message before it is made.
func (f filter) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if entry.Message == bornEmpty {
		return checked
	}
	return f.Core.Check(entry, checked)
}
