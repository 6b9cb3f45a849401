// What asks in benches/mapper.
//
//   cold A...                    connect() of a datagram socket to each A: nothing is sent but
//                                what finds U out; nanoseconds of each
//   rate PATH A CLIENTS MS kept|anew   clients ask aarpd for A one question after the other, on one
//                                connection or on one each; how many were answered
//   fill PATH COUNT              asks aarpd for so many A, several at a time
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// The header, and the bodies of RESOLVE and MAPPING (crates/wire/src/mapper).
struct header {
	char magic[4];
	uint8_t version, type;
	uint16_t length;
	uint32_t id;
};
struct resolve {
	struct header header;
	struct in6_addr a;
	uint32_t budget, flags;
};
enum { RESOLVE = 1, MAPPING = 2, ERROR = 12, WINDOW = 256, CLIENTS = 1024, NETWORKS = 64 };

static _Noreturn void failed(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static struct in6_addr address(const char *text)
{
	struct in6_addr a;
	if (inet_pton(AF_INET6, text, &a) != 1)
		exit(64);
	return a;
}

static int dial(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	strncpy(to.sun_path, path, sizeof to.sun_path - 1);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (void *)&to, sizeof to))
		failed("connect to aarpd");
	return fd;
}

static void ask(int fd, struct in6_addr a, uint32_t id)
{
	struct resolve message = {
		.header = { .magic = "AARP", .version = 1, .type = RESOLVE, .length = sizeof message,
			    .id = id },
		.a = a,
		.budget = 1000,
	};
	if (send(fd, &message, sizeof message, MSG_NOSIGNAL) != sizeof message)
		failed("send to aarpd");
}

// The type of the next answer, and what it answers.
static int hear(int fd, uint32_t *id)
{
	char buffer[16384];
	struct header header;
	if (recv(fd, buffer, sizeof buffer, 0) < (ssize_t)sizeof header)
		failed("recv from aarpd");
	memcpy(&header, buffer, sizeof header);
	*id = header.id;
	return header.type;
}

static void cold(char **addresses)
{
	for (; *addresses; addresses++) {
		struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(9) };
		to.sin6_addr = address(*addresses);
		int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		uint64_t began = now();
		if (connect(fd, (void *)&to, sizeof to))
			failed("connect");
		printf("%llu\n", (unsigned long long)(now() - began));
		close(fd);
	}
}

static void rate(const char *path, struct in6_addr a, int clients, int ms, int is_kept)
{
	static pid_t pids[CLIENTS];
	size_t size = CLIENTS * sizeof(uint64_t);
	volatile uint64_t *counts = mmap(NULL, size, PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED || clients > CLIENTS)
		failed("mmap");
	uint64_t begin = now() + 50000000, end = begin + ms * 1000000ull;
	for (int i = 0; i < clients; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			failed("fork");
		if (pids[i])
			continue;
		int fd = dial(path);
		for (uint64_t time = 0; time < end; time = now()) {
			uint32_t id;
			if (!is_kept && time) {
				close(fd);
				fd = dial(path);
			}
			ask(fd, a, i);
			if (hear(fd, &id) != MAPPING || id != (uint32_t)i)
				_exit(1);
			if (time >= begin)
				counts[i]++;
		}
		_exit(0);
	}
	uint64_t sum = 0;
	for (int i = 0; i < clients; i++) {
		int status;
		if (waitpid(pids[i], &status, 0) != pids[i] || status)
			exit(1);
		sum += counts[i];
	}
	printf("%.0f\n", sum * 1000.0 / ms);
}

static struct in6_addr nth(uint32_t n)
{
	// Of many networks: those of one /48 are asked about at a limited rate.
	struct in6_addr a = address("2001:db8:a000::");
	a.s6_addr[5] = n % NETWORKS;
	uint32_t rest = htonl(n / NETWORKS + 1);
	memcpy(a.s6_addr + 12, &rest, sizeof rest);
	return a;
}

static void fill(const char *path, uint32_t count)
{
	int fd = dial(path);
	uint32_t asked = 0, known = 0;
	while (known < count) {
		for (; asked < count && asked - known < WINDOW; asked++)
			ask(fd, nth(asked), asked);
		uint32_t id;
		int type = hear(fd, &id);
		if (type == MAPPING) {
			known++;
		} else if (type == ERROR) {
			// Busy: again, a little later.
			struct timespec pause = { .tv_nsec = 1000000 };
			nanosleep(&pause, NULL);
			ask(fd, nth(id), id);
		} else {
			exit(1);
		}
	}
	printf("%u\n", known);
}

int main(int count, char **words)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (count > 2 && !strcmp(words[1], "cold"))
		cold(words + 2);
	else if (count == 7 && !strcmp(words[1], "rate"))
		rate(words[2], address(words[3]), atoi(words[4]), atoi(words[5]),
		     !strcmp(words[6], "kept"));
	else if (count == 4 && !strcmp(words[1], "fill"))
		fill(words[2], atoi(words[3]));
	else
		return 64;
	return 0;
}
