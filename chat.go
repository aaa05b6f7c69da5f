package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"tertulia/chat"
	"tertulia/client/terminal"
)

// defaultWait is how long `chat` waits for a room that is being joined, and at
// the end of its input for what is unsent or, with --until final, not final.
const defaultWait = 10 * time.Second

func (p program) chatCommand() *cobra.Command {
	var flags clientFlags
	var cfg terminal.Config
	var until string
	cmd := &cobra.Command{
		Use:   "chat",
		Short: "Talk in a room of a running node",
		Long: "Talk in a room of a running node. Every line of stdin is a message; /help lists the commands.\n" +
			"With --json, stdout carries one event a line, and a line of stdin may be {\"text\":\"…\",\"client_id\":\"…\"}.",
		Args: cobra.NoArgs,
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&cfg.Room, "room", chat.DefaultRoom, "`NAME`, id or unique beginning of an id")
	cmd.Flags().StringVar(&cfg.Username, "username", defaultUsername(), "the `NAME` to talk under")
	cmd.Flags().DurationVar(&cfg.Wait, "wait", defaultWait, "`TIME` to wait for the room, and at the end for what is unsent or not final")
	cmd.Flags().StringVar(&until, "until", "sent", "what every line waits for at the end: sent or final")
	cmd.Flags().BoolVar(&cfg.Follow, "follow", false, "go on listening after the end of stdin")
	cmd.Flags().Uint64Var(&cfg.From, "from", 0, "first show the final messages from this `INDEX` on")
	cmd.RunE = p.action(func(ctx context.Context, _ []string) error {
		switch until {
		case "sent":
		case "final":
			cfg.UntilFinal = true
		default:
			return chat.Errorf(chat.CodeInvalid, "--until is `sent` or `final`, not `%s`.", until)
		}
		c, err := flags.open()
		if err != nil {
			return err
		}
		defer c.Close()
		cfg.In, cfg.Out, cfg.JSON = p.in, p.out, flags.json
		cfg.Width = terminalWidth(p.out)
		cfg.Colour = cfg.Width > 0 && os.Getenv("NO_COLOR") == ""
		cfg.Replay = cmd.Flags().Changed("from")
		return terminal.Run(ctx, c, cfg)
	})
	return cmd
}
