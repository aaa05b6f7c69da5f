package main

import (
	"context"
	"io"
	"log/slog"
	"strings"

	"tertulia/chat"
)

// newLogger returns a logger of human text. spec is a level, or a list of
// PKG=LEVEL, where PKG is the value of the attribute "pkg" that a package puts
// on its logger; a bare level in the list is that of all other packages.
func newLogger(w io.Writer, spec string) (*slog.Logger, error) {
	h := levels{rest: slog.LevelInfo, byPackage: make(map[string]slog.Level)}
	for part := range strings.SplitSeq(spec, ",") {
		name, word, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			name, word = "", name
		}
		var level slog.Level
		if err := level.UnmarshalText([]byte(word)); err != nil {
			return nil, chat.Errorf(chat.CodeInvalid, "--log has no level %q.", word).
				WithHint("Levels are debug, info, warn and error, as in: --log p2p=debug,room=info")
		}
		if name == "" {
			h.rest = level
		} else {
			h.byPackage[name] = level
		}
	}
	h.level = h.rest
	h.next = slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.Level(-1 << 10)})
	return slog.New(h), nil
}

// levels is a handler with a level for each package.
type levels struct {
	next      slog.Handler
	rest      slog.Level
	byPackage map[string]slog.Level // never changed after newLogger
	level     slog.Level            // of the package this logger belongs to
}

func (h levels) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h levels) Handle(ctx context.Context, r slog.Record) error { return h.next.Handle(ctx, r) }

func (h levels) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		if a.Key != "pkg" {
			continue
		}
		level, ok := h.byPackage[a.Value.String()]
		if !ok {
			level = h.rest
		}
		h.level = level
	}
	h.next = h.next.WithAttrs(attrs)
	return h
}

func (h levels) WithGroup(name string) slog.Handler {
	h.next = h.next.WithGroup(name)
	return h
}
