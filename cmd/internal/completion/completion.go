// Package completion has shells complete the command line of a command that talks to nodes.
package completion

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport/handoff/service"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Add adds the command completion, and has shells complete what the help names: the words of a
// value such as `tcp|tls`, and NODE, an argument or a value. args is the command line.
func Add(root *cobra.Command, o *config.Options, args []string) {
	root.InitDefaultCompletionCmd(args...)
	checkShell(root)
	completeFlags(root, root.PersistentFlags(), o)
	completeFlags(root, root.LocalNonPersistentFlags(), o)
	completeInBash(root)
	for _, cmd := range root.Commands() {
		completeFlags(cmd, cmd.LocalNonPersistentFlags(), o)
		want := strings.Fields(cmd.Use)[1:]
		if slices.Contains(want, "--") || cmd.HasSubCommands() {
			continue // another program's, or a command's
		}
		cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) >= len(want) {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return complete(o, strings.Replace(want[len(args)], "NAME", "NODE", 1), begun)
		}
	}
}

// checkShell makes "completion" refuse a shell for which there is no script.
func checkShell(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		var shells []string
		for _, shell := range c.Commands() {
			shells = append(shells, shell.Name())
		}
		c.Args = func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return cli.Usagef("no completion for %s; the shells are %s", args[0], strings.Join(shells, ", "))
			}
			return nil
		}
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
}

func completeFlags(cmd *cobra.Command, flags *pflag.FlagSet, o *config.Options) {
	flags.VisitAll(func(f *pflag.Flag) {
		what, _ := pflag.UnquoteUsage(f)
		// the error is of a flag that has one already
		_ = cmd.RegisterFlagCompletionFunc(f.Name, func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
			return complete(o, what, begun)
		})
	})
}

// isWord is what stands for itself in the name of a value, as HOST:PORT does not.
var isWord = regexp.MustCompile("^[a-z]+$")

// files are the names of values and arguments that the shell knows to complete.
var files = []string{"FILE", "PATH", "DIR", "ADDRESS", "PROGRAM"}

// complete lists what a value or an argument may be, by its name in the help.
func complete(o *config.Options, what, begun string) ([]string, cobra.ShellCompDirective) {
	switch {
	case what == "NODE":
		own := ownNodes()
		return append(own, registered(o, own, begun)...), cobra.ShellCompDirectiveNoFileComp
	case slices.Contains(files, what):
		return nil, cobra.ShellCompDirectiveDefault
	case strings.Contains(what, "|"):
		words := slices.DeleteFunc(strings.Split(what, "|"), func(word string) bool { return !isWord.MatchString(word) })
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// ownNodes are the nodes of this user that can be upgraded.
func ownNodes() (names []string) {
	sockets, _ := filepath.Glob(strings.Replace(service.ControlPath("NODE"), "NODE", "*", 1))
	for _, socket := range sockets {
		if name, err := url.PathUnescape(filepath.Base(filepath.Dir(socket))); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// completionTime is how long somebody who types may wait.
const completionTime = time.Second

// registered are the names that the port mapper of the host that was typed knows. As long as that
// may become one that is likely on this machine, they are those of this machine, with such hosts;
// but not of the nodes known already, whose hosts are certain.
func registered(o *config.Options, known []string, begun string) (nodes []string) {
	client := &epmd.Client{Timeout: completionTime}
	if config.CheckMapperAddr(o.Epmd) == nil {
		client.Addr = o.Epmd
	}
	_, typed, _ := strings.Cut(begun, "@")
	short, _ := config.ShortHost()
	hosts, at := []string{"127.0.0.1", short}, ""
	if !strings.HasPrefix("127.0.0.1", typed) && !strings.HasPrefix(short, typed) {
		hosts, at = []string{typed}, typed
	}
	_, names, _ := client.Names(context.Background(), at)
	for _, n := range names {
		if at == "" && slices.ContainsFunc(known, func(node string) bool { return strings.HasPrefix(node, n.Name+"@") }) {
			continue
		}
		for _, host := range hosts {
			nodes = append(nodes, n.Name+"@"+host)
		}
	}
	return nodes
}

// What cobra's script for bash needs of the package bash-completion is done here: it may be
// missing, and takes alive@host for three words, as COMP_WORDBREAKS has it.
var (
	bashInit  = regexp.MustCompile(`(?s)    if declare -F _init_completion .*?\n    fi\n`)
	bashWords = `    local line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cword=$((${#words[@]} - 1))
    cur=${words[cword]} prev=${words[cword - 1]}
`
	bashColon = "    __%s_handle_special_char \"$cur\" :\n" // with the name of the program
	// what is to be replaced begins with the last @
	bashAt = `    [[ $cur == *@* && $COMP_WORDBREAKS == *@* ]] && COMPREPLY=("${COMPREPLY[@]#"${cur%@*}"}")
`
)

// completeInBash makes "completion bash" print a script that stands by itself.
func completeInBash(root *cobra.Command) {
	bash, _, err := root.Find([]string{"completion", "bash"})
	if err != nil || bash == root { // a program of one command has it only when it is asked for
		return
	}
	_, about, _ := strings.Cut(bash.Long, "package manager.\n\n")
	bash.Long = "Generate the autocompletion script for the bash shell.\n\n" + about
	bash.RunE = func(cmd *cobra.Command, _ []string) error {
		plain, err := cmd.Flags().GetBool("no-descriptions")
		if err != nil {
			return err
		}
		var script strings.Builder
		if err := root.GenBashCompletionV2(&script, !plain); err != nil {
			return err
		}
		text := bashInit.ReplaceAllLiteralString(script.String(), bashWords)
		colon := fmt.Sprintf(bashColon, root.Name())
		text = strings.Replace(text, colon, bashAt+colon, 1)
		_, err = io.WriteString(cmd.OutOrStdout(), text)
		return err
	}
}
