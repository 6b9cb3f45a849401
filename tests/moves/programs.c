// The programs of this test, which know nothing of what is below them.
//
//   serve NAME PORT              answers each line with NAME and the line, and GET with NAME
//   short blocking|waiting A PORT  connects again and again, until standard input ends
//   long A PORT                  connects once, and speaks until standard input ends
//
// What the clients say, one line each; a time is nanoseconds of CLOCK_REALTIME:
//   connected BEGAN PORT NAME    a connection from that port was served by NAME
//   spoken N NAME                the N-th exchange over a connection
//   failed BEGAN WHAT: WHY
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PEERS = 256, LINE = 2048, FILLING = 1000 };

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_REALTIME, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static _Noreturn void failed(uint64_t began, const char *what)
{
	printf("failed %llu %s: %s\n", (unsigned long long)began, what, strerror(errno));
	exit(1);
}

// Whether standard input has ended, after so many milliseconds at the most. What is waited
// for is the pace of a client, not an event.
static int is_over(int pace)
{
	struct pollfd input = { .fd = 0, .events = POLLIN };
	return poll(&input, 1, pace) > 0;
}

static int write_all(int socket, const char *data, size_t length)
{
	while (length > 0) {
		ssize_t written = send(socket, data, length, MSG_NOSIGNAL);
		if (written < 0)
			return -1;
		data += written;
		length -= written;
	}
	return 0;
}

struct peer {
	char line[LINE];
	size_t length;
	int is_http;
};

// Answers what is whole; -1 when the connection is to be closed.
static int answer(int socket, struct peer *peer, const char *name)
{
	char *end;
	while ((end = memchr(peer->line, '\n', peer->length))) {
		char text[LINE + 256];
		size_t line = end - peer->line + 1;
		int length = 0, is_end = 0;
		if (peer->is_http || !strncmp(peer->line, "GET ", 4)) {
			peer->is_http = 1;
			// What is not read when it is closed would reset the connection.
			is_end = line == 2 && peer->line[0] == '\r';
			if (is_end)
				length = sprintf(text, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
						 strlen(name), name);
		} else {
			length = snprintf(text, sizeof text, "%s %.*s", name, (int)line, peer->line);
		}
		if (write_all(socket, text, length) || is_end)
			return -1;
		peer->length -= line;
		memmove(peer->line, end + 1, peer->length);
	}
	return peer->length == sizeof peer->line ? -1 : 0;
}

static int serve(const char *name, int port)
{
	static struct peer peers[PEERS];
	static struct pollfd polled[PEERS];
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int one = 1, listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (void *)&any, sizeof any) || listen(listener, 1024)) {
		perror("listen");
		return 1;
	}
	for (int i = 0; i < PEERS; i++)
		polled[i].fd = -1;
	polled[0] = (struct pollfd){ .fd = listener, .events = POLLIN };
	while (poll(polled, PEERS, -1) >= 0 || errno == EINTR) {
		for (int i = 1; i < PEERS; i++) {
			if (polled[i].fd < 0 || !polled[i].revents)
				continue;
			struct peer *peer = &peers[i];
			ssize_t got = recv(polled[i].fd, peer->line + peer->length,
					   sizeof peer->line - peer->length, 0);
			peer->length += got > 0 ? got : 0;
			if (got <= 0 || answer(polled[i].fd, peer, name)) {
				close(polled[i].fd);
				polled[i].fd = -1;
			}
		}
		int free = 1;
		while (free < PEERS && polled[free].fd >= 0)
			free++;
		// Where all are taken the next waits in the kernel's queue.
		polled[0].events = free < PEERS ? POLLIN : 0;
		if (free < PEERS && polled[0].revents) {
			int peer = accept(listener, NULL, NULL);
			if (peer >= 0) {
				polled[free] = (struct pollfd){ .fd = peer, .events = POLLIN };
				peers[free].length = peers[free].is_http = 0;
			}
		}
	}
	perror("poll");
	return 1;
}

static int dial(const char *a, int port, int is_blocking, uint64_t began)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	if (inet_pton(AF_INET6, a, &to.sin6_addr) != 1)
		exit(2);
	int type = SOCK_STREAM | SOCK_CLOEXEC | (is_blocking ? 0 : SOCK_NONBLOCK);
	int socket_ = socket(AF_INET6, type, 0);
	if (connect(socket_, (void *)&to, sizeof to)) {
		if (is_blocking || errno != EINPROGRESS)
			failed(began, "connect");
		struct pollfd polled = { .fd = socket_, .events = POLLOUT };
		int error = 0;
		socklen_t length = sizeof error;
		if (poll(&polled, 1, -1) != 1
		    || getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &length))
			failed(began, "poll");
		errno = error;
		if (error)
			failed(began, "connect");
		fcntl(socket_, F_SETFL, 0);
	}
	return socket_;
}

// Sends a line, and reads who has answered it into `name`.
static void exchange(int socket, const char *line, char *name, uint64_t began)
{
	char text[LINE];
	size_t length = 0;
	if (write_all(socket, line, strlen(line)))
		failed(began, "send");
	do {
		ssize_t got = recv(socket, text + length, sizeof text - 1 - length, 0);
		if (got == 0)
			errno = EPIPE;
		if (got <= 0)
			failed(began, "recv");
		length += got;
	} while (text[length - 1] != '\n');
	text[length] = 0;
	char *rest = strchr(text, ' ');
	if (!rest || strcmp(rest + 1, line)) {
		errno = EBADMSG;
		failed(began, "another answer");
	}
	*rest = 0;
	strcpy(name, text);
}

static void tell_connected(int socket, uint64_t began, const char *name)
{
	struct sockaddr_in6 own;
	socklen_t length = sizeof own;
	if (getsockname(socket, (void *)&own, &length))
		failed(began, "getsockname");
	printf("connected %llu %d %s\n", (unsigned long long)began, ntohs(own.sin6_port), name);
}

int main(int count, char **words)
{
	char name[LINE];
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (count == 4 && !strcmp(words[1], "serve"))
		return serve(words[2], atoi(words[3]));
	if (count == 5 && !strcmp(words[1], "short")) {
		int is_blocking = !strcmp(words[2], "blocking");
		do {
			uint64_t began = now();
			int socket = dial(words[3], atoi(words[4]), is_blocking, began);
			exchange(socket, "who\n", name, began);
			tell_connected(socket, began, name);
			close(socket);
		} while (!is_over(4));
		return 0;
	}
	if (count == 4 && !strcmp(words[1], "long")) {
		uint64_t began = now();
		int socket = dial(words[2], atoi(words[3]), 1, began);
		char line[FILLING + 32], first[LINE];
		for (unsigned long long n = 0;; n++) {
			int length = sprintf(line, "%llu", n);
			memset(line + length, '.', FILLING);
			strcpy(line + length + FILLING, "\n");
			exchange(socket, line, name, began);
			if (n == 0) {
				strcpy(first, name);
				tell_connected(socket, began, name);
			} else if (strcmp(first, name)) {
				errno = EBADMSG;
				failed(began, "another server");
			}
			printf("spoken %llu %s\n", n, name);
			if (is_over(20))
				return 0;
		}
	}
	return 64;
}
