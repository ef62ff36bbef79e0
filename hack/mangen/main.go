// Command mangen writes varve's manual pages, one for each command.
//
//	go run ./hack/mangen -o DIR
//
// The pages are made from the output of --help, so that nothing is written twice.
// They contain no date except that of SOURCE_DATE_EPOCH, if it is set.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/cli"
)

func main() {
	dir := flag.String("o", "man", "directory to write the pages to")
	flag.Parse()
	date, err := pageDate(os.Getenv("SOURCE_DATE_EPOCH"))
	if err == nil {
		err = os.MkdirAll(*dir, 0o755)
	}
	if err == nil {
		err = writePages(*dir, cli.Command(), date)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "mangen: %v\n", err)
		os.Exit(1)
	}
}

// pageDate returns the date that pages give; empty for none.
func pageDate(epoch string) (string, error) {
	if epoch == "" {
		return "", nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return "", fmt.Errorf("SOURCE_DATE_EPOCH is %q, not a number of seconds", epoch)
	}
	return time.Unix(seconds, 0).UTC().Format(time.DateOnly), nil
}

// writePages writes the pages of a command and of those below it.
func writePages(dir string, cmd *cobra.Command, date string) error {
	name := filepath.Join(dir, pageName(cmd)+".1")
	if err := os.WriteFile(name, []byte(page(cmd, date)), 0o644); err != nil {
		return err
	}
	for _, c := range documented(cmd) {
		if err := writePages(dir, c, date); err != nil {
			return err
		}
	}
	return nil
}

// documented returns the commands below cmd that have pages.
func documented(cmd *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			all = append(all, c)
		}
	}
	return all
}
