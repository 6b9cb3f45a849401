/* Runs one part of the cases, or says which there are.
 *   --list
 *   ADDRESS PART PARTS   each case whose number leaves PART when divided by PARTS
 *   --child WHAT…        what a case starts (descriptors.c) */
extern const struct cases *const __start_cases[], *const __stop_cases[];

static int part, parts = 1;

static void each(void (*act)(const struct cases *, int, const char *)) {
    int number = 0;
    for (const struct cases *const *at = __start_cases; at < __stop_cases; at++) {
        int variant = 0;
        do {
            char name[256];
            if ((*at)->variants)
                snprintf(name, sizeof name, "%s: %s", (*at)->name, (*at)->variants[variant]);
            else
                snprintf(name, sizeof name, "%s", (*at)->name);
            own_port = 22000 + number;
            if (number++ % parts == part)
                act(*at, variant, name);
            variant++;
        } while ((*at)->variants && (*at)->variants[variant]);
    }
}

static void say(__attribute__((unused)) const struct cases *cases,
                __attribute__((unused)) int variant, const char *name) {
    puts(name);
}

/* Nobody has left a descriptor open, low or high. */
static void show_descriptors(void) {
    int fd = MUST(open("/dev/null", O_RDONLY)), count = 0;
    MUST(syscall(SYS_close, fd));
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder))
        count++;
    closedir(folder);
    printf("next descriptor %d, of %d\n", fd, count);
}

/* In a process of its own: what one case has found out, or done to its process, is
 * nothing to the next; and one that hangs or crashes is one that differs. */
static void perform(const struct cases *cases, int variant, const char *name) {
    struct timespec begun, ended;
    printf("== %s\n", name);
    /* Among what the library says of itself, it is to be seen which case is meant. */
    fprintf(stderr, "== %s\n", name);
    fflush(stdout);
    MUST(clock_gettime(CLOCK_MONOTONIC, &begun));
    pid_t child = MUST(fork());
    if (!child) {
        alarm(200);
        cases->run(variant);
        show_descriptors();
        fflush(stdout);
        _exit(0);
    }
    int status;
    MUST(waitpid(child, &status, 0));
    if (status)
        printf("ended by %s %d\n", WIFSIGNALED(status) ? "signal" : "exit",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    MUST(clock_gettime(CLOCK_MONOTONIC, &ended));
    fprintf(stderr, "took %ld ms\n",
            (ended.tv_sec - begun.tv_sec) * 1000 + (ended.tv_nsec - begun.tv_nsec) / 1000000);
}

int main(int count, char **words) {
    if (count == 2 && !strcmp(words[1], "--list")) {
        each(say);
        return 0;
    }
    if (count > 2 && !strcmp(words[1], "--child"))
        return child(count - 2, words + 2);
    if (count != 4 || inet_pton(AF_INET6, words[1], &destination) != 1)
        return 64;
    part = atoi(words[2]);
    parts = atoi(words[3]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    each(perform);
    puts("== end");
    return 0;
}
