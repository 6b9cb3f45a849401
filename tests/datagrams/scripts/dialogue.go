// The same as dialogue.py in Go. Arguments: udp|tcp HOST PORT
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	connection, err := net.Dial(os.Args[1]+"6", net.JoinHostPort(os.Args[2], os.Args[3]))
	check(err)
	peer, _, err := net.SplitHostPort(connection.RemoteAddr().String())
	check(err)
	lines := bufio.NewScanner(os.Stdin)
	answer := make([]byte, 4096)
	for lines.Scan() {
		text := lines.Text()
		if os.Args[1] == "tcp" {
			text += "\n"
		}
		_, err = connection.Write([]byte(text))
		check(err)
		length, err := connection.Read(answer)
		check(err)
		fmt.Println(peer, string(answer[:length]))
	}
}
