package terminal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"tertulia/chat"
)

// maxLineBytes limits a line of input; a message of chat.MaxTextBytes as JSON
// fits, however it is escaped.
const maxLineBytes = 1 << 20

// input is one line of stdin as its reader understood it: exactly one of text,
// command and problem says something.
type input struct {
	text     string
	clientID string
	command  string // without the slash
	argument string
	problem  *chat.Error
}

// parse reads one line without its end. ok is false for a line to be ignored.
func parse(line string, jsonMode bool) (in input, ok bool) {
	line = strings.TrimSuffix(line, "\r")
	switch {
	case !utf8.ValidString(line):
		return input{problem: chat.Errorf(chat.CodeInvalid, "A line was not UTF-8 and was not sent.")}, true
	case strings.TrimSpace(line) == "":
		return input{}, false
	case strings.HasPrefix(line, "//"):
		return input{text: line[1:]}, true
	case strings.HasPrefix(line, "/"):
		name, argument, _ := strings.Cut(line[1:], " ")
		return input{command: "/" + name, argument: strings.TrimSpace(argument)}, true
	case jsonMode && strings.HasPrefix(line, "{"):
		var said struct {
			Text     string `json:"text"`
			ClientID string `json:"client_id"`
		}
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			return input{problem: chat.Errorf(chat.CodeInvalid, "A line that begins with { is not JSON and was not sent.").
				WithHint(`Write {"text":"…","client_id":"…"}, or begin the message with another character.`)}, true
		}
		if strings.TrimSpace(said.Text) == "" {
			return input{problem: chat.Errorf(chat.CodeInvalid, "A JSON line has no text and was not sent."), clientID: said.ClientID}, true
		}
		return input{text: said.Text, clientID: said.ClientID}, true
	}
	return input{text: line}, true
}

// readLines posts the lines of r until its end, then closes lines. It ends
// with ctx between two lines only: a read of stdin cannot be interrupted.
func readLines(ctx context.Context, r io.Reader, jsonMode bool, lines chan<- input) {
	defer close(lines)
	buffer := bufio.NewReaderSize(r, maxLineBytes)
	for {
		line, err := buffer.ReadSlice('\n')
		var in input
		ok := true
		if errors.Is(err, bufio.ErrBufferFull) {
			in.problem = chat.Errorf(chat.CodeInvalid, "A line longer than %d bytes was not sent.", maxLineBytes)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = buffer.ReadSlice('\n')
			}
		} else {
			in, ok = parse(strings.TrimSuffix(string(line), "\n"), jsonMode)
		}
		if ok {
			select {
			case lines <- in:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}
