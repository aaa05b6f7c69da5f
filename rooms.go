package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tertulia/chat"
	"tertulia/client"
	"tertulia/client/terminal"
)

// maxInviteBytes limits a file that --join or `rooms join` reads.
const maxInviteBytes = 64 << 10

func (p program) roomsCommand() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "rooms",
		Short: "List, create, join, rename, switch and leave rooms",
		Args:  cobra.NoArgs,
		RunE: p.asking(&flags, func(ctx context.Context, c *client.Client, _ []string) error {
			rooms, err := c.Rooms(ctx)
			if err != nil {
				return err
			}
			return p.printRooms(rooms, flags.json)
		}),
	}
	flags.add(cmd)
	list := &cobra.Command{Use: "list", Short: "List the rooms", Args: cobra.NoArgs, RunE: cmd.RunE}
	flags.add(list)
	cmd.AddCommand(list, p.roomCreateCommand(), p.roomJoinCommand(), p.roomLeaveCommand(), p.roomRenameCommand(), p.roomSwitchCommand(), later("recover"))
	return cmd
}

func (p program) printRooms(rooms []chat.Room, json bool) error {
	if !json {
		for _, r := range rooms {
			fmt.Fprintln(p.out, terminal.RoomWords(r))
		}
		return nil
	}
	for _, line := range terminal.RoomLines(rooms) {
		if err := terminal.WriteJSON(p.out, line); err != nil {
			return err
		}
	}
	return nil
}

func (p program) roomCreateCommand() *cobra.Command {
	var flags clientFlags
	var ordering string
	cmd := &cobra.Command{Use: "create NAME", Short: "Create a room", Args: cobra.ExactArgs(1)}
	flags.add(cmd)
	cmd.Flags().StringVar(&ordering, "ordering", string(chat.Lamport), "how the room agrees on its order: lamport or leader")
	cmd.RunE = p.action(func(ctx context.Context, args []string) error {
		order, err := parseOrder(ordering)
		if err != nil {
			return err
		}
		c, err := flags.open()
		if err != nil {
			return err
		}
		defer c.Close()
		room, err := c.CreateRoom(ctx, args[0], order)
		if err != nil {
			return err
		}
		return p.printRooms([]chat.Room{room}, flags.json)
	})
	return cmd
}

func parseOrder(name string) (chat.Order, error) {
	switch order := chat.Order(name); order {
	case chat.Lamport, chat.Leader:
		return order, nil
	}
	return "", chat.Errorf(chat.CodeInvalid, "--ordering is `lamport` or `leader`, not `%s`.", name)
}

func (p program) roomJoinCommand() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{Use: "join INVITE", Short: "Join a room by an invite, or by @FILE that has one", Args: cobra.ExactArgs(1)}
	flags.add(cmd)
	cmd.RunE = p.action(func(ctx context.Context, args []string) error {
		invite, err := readInvite(args[0])
		if err != nil {
			return err
		}
		c, err := flags.open()
		if err != nil {
			return err
		}
		defer c.Close()
		room, err := c.JoinRoom(ctx, invite)
		if err != nil {
			return err
		}
		return p.printRooms([]chat.Room{room}, flags.json)
	})
	return cmd
}

// readInvite returns arg, or what is in the file that @FILE names.
func readInvite(arg string) (string, error) {
	name, ok := strings.CutPrefix(arg, "@")
	if !ok {
		return arg, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return "", &chat.Error{Code: chat.CodeInvalid, Message: fmt.Sprintf("The invite cannot be read from %s.", name), Err: err}
	}
	if info.Size() > maxInviteBytes {
		return "", chat.Errorf(chat.CodeInvalid, "%s is too large to be an invite.", name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "", &chat.Error{Code: chat.CodeInvalid, Message: fmt.Sprintf("The invite cannot be read from %s.", name), Err: err}
	}
	return strings.TrimSpace(string(text)), nil
}

func (p program) roomSwitchCommand() *cobra.Command {
	var flags clientFlags
	var ordering string
	cmd := &cobra.Command{
		Use:   "switch NAME --ordering ORDER",
		Short: "Give a room another order; only its creator can",
		Long: `Gives a room another order: lamport, where all members who are there agree, or
leader, where one of them decides and a majority stores it. Nothing that is final
moves, and nobody has to wait. The room has the new order once the line that says
so is final and enough members can be reached.`,
		Args: cobra.ExactArgs(1),
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&ordering, "ordering", "", "the new `ORDER`: lamport or leader")
	cmd.RunE = p.action(func(ctx context.Context, args []string) error {
		order, err := parseOrder(ordering)
		if err != nil {
			return err
		}
		c, err := flags.open()
		if err != nil {
			return err
		}
		defer c.Close()
		return c.SwitchOrder(ctx, args[0], order)
	})
	return cmd
}

func (p program) roomRenameCommand() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{Use: "rename NAME NEW", Short: "Give a room another name; only its creator can", Args: cobra.ExactArgs(2)}
	flags.add(cmd)
	cmd.RunE = p.asking(&flags, func(ctx context.Context, c *client.Client, args []string) error {
		return c.RenameRoom(ctx, args[0], args[1])
	})
	return cmd
}

func (p program) roomLeaveCommand() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{Use: "leave NAME", Short: "Leave a room for good", Args: cobra.ExactArgs(1)}
	flags.add(cmd)
	cmd.RunE = p.asking(&flags, func(ctx context.Context, c *client.Client, args []string) error {
		return c.LeaveRoom(ctx, args[0])
	})
	return cmd
}

func (p program) inviteCommand() *cobra.Command {
	var flags clientFlags
	var o chat.InviteOptions
	cmd := &cobra.Command{Use: "invite", Short: "Print an invite to a room", Args: cobra.NoArgs}
	flags.add(cmd)
	cmd.Flags().StringVar(&o.Room, "room", chat.DefaultRoom, "`NAME`, id or unique beginning of an id")
	cmd.Flags().DurationVar(&o.Expires, "expires", 0, "`TIME` the invite is good for, as 24h; 0 = for ever")
	cmd.Flags().IntVar(&o.Uses, "uses", 0, "how many devices may use it; 0 = any number")
	cmd.RunE = p.action(func(ctx context.Context, _ []string) error {
		if o.Expires < 0 || o.Uses < 0 || o.Expires > 0 && o.Expires < time.Millisecond {
			return chat.Errorf(chat.CodeInvalid, "--expires and --uses cannot be negative, and --expires is at least 1ms.")
		}
		c, err := flags.open()
		if err != nil {
			return err
		}
		defer c.Close()
		invite, err := c.Invite(ctx, o)
		if err != nil {
			return err
		}
		if flags.json {
			return terminal.WriteJSON(p.out, map[string]string{"invite": invite})
		}
		_, err = fmt.Fprintln(p.out, invite)
		return err
	})
	cmd.AddCommand(later("list"), later("revoke"))
	return cmd
}

func (p program) membersCommand() *cobra.Command {
	var flags clientFlags
	var room string
	cmd := &cobra.Command{Use: "members [ROOM]", Short: "List who may write in a room, with fingerprints", Args: cobra.MaximumNArgs(1)}
	flags.add(cmd)
	cmd.Flags().StringVar(&room, "room", chat.DefaultRoom, "`NAME`, id or unique beginning of an id")
	cmd.RunE = p.asking(&flags, func(ctx context.Context, c *client.Client, args []string) error {
		if len(args) == 1 {
			room = args[0]
		}
		members, err := c.Members(ctx, room)
		if err != nil {
			return err
		}
		if !flags.json {
			for _, m := range members {
				fmt.Fprintln(p.out, terminal.MemberWords(m))
			}
			return nil
		}
		for _, line := range terminal.MemberLines(members) {
			if err := terminal.WriteJSON(p.out, line); err != nil {
				return err
			}
		}
		return nil
	})
	cmd.AddCommand(p.memberRemoveCommand())
	return cmd
}

func (p program) memberRemoveCommand() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{Use: "remove ROOM NODE", Short: "End a device's membership, for good", Args: cobra.ExactArgs(2)}
	flags.add(cmd)
	cmd.RunE = p.asking(&flags, func(ctx context.Context, c *client.Client, args []string) error {
		return c.RemoveMember(ctx, args[0], args[1])
	})
	return cmd
}
