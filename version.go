package main

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"tertulia/client/terminal"
)

// Set by the linker: -ldflags "-X main.version=… -X main.commit=…".
var (
	version = "dev"
	commit  = ""
)

// buildCommit returns the commit the program was built from, as far as known.
func buildCommit() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, dirty := "unknown", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+changes"
			}
		}
	}
	return revision + dirty
}

func (p program) versionCommand() *cobra.Command {
	var json bool
	cmd := &cobra.Command{Use: "version", Short: "Print version, commit and build kind", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&json, "json", false, "one JSON object")
	cmd.RunE = p.action(func(context.Context, []string) error {
		if json {
			return terminal.WriteJSON(p.out, struct {
				Version string `json:"version"`
				Commit  string `json:"commit"`
				Build   string `json:"build"`
			}{version, buildCommit(), buildKind})
		}
		_, err := fmt.Fprintf(p.out, "tertulia %s, commit %s, %s build\n", version, buildCommit(), buildKind)
		return err
	})
	return cmd
}
