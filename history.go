package main

import (
	"bufio"
	"context"

	"github.com/spf13/cobra"

	"tertulia/chat"
	"tertulia/client"
	"tertulia/client/terminal"
)

func (p program) historyCommand() *cobra.Command {
	var flags clientFlags
	var q client.HistoryQuery
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Print the final messages of a room",
		Args:  cobra.NoArgs,
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&q.Room, "room", chat.DefaultRoom, "`NAME`, id or unique beginning of an id")
	cmd.Flags().Uint64Var(&q.From, "from", 1, "the first `INDEX` wanted")
	cmd.Flags().Uint64Var(&q.Limit, "limit", 0, "this many indexes; 0 = all")
	cmd.Flags().BoolVar(&q.Tentative, "tentative", false, "append what is not final yet, in the order it would take now")
	cmd.RunE = p.action(func(ctx context.Context, _ []string) error {
		c, err := flags.open()
		if err != nil {
			return err
		}
		defer c.Close()
		out := bufio.NewWriter(p.out)
		width := terminalWidth(p.out)
		print := terminal.Printer{Out: out, JSON: flags.json, Colour: width > 0, Width: width}
		err = c.History(ctx, q, func(m chat.Message) error {
			print.Message(m)
			return print.Err
		})
		// What came before a failure is printed too.
		if flushErr := out.Flush(); err == nil {
			err = flushErr
		}
		return err
	})
	return cmd
}
