// The memory model: each atomic object has the list of its stores in modification order, which is
// the order of execution. A thread's view says for each object which stores it may still read: none
// before one that happens before the load, or that the thread has seen. A release store carries the
// view of its thread, an acquire load joins it. Sequentially consistent operations have in addition
// one common view, which only they read ([atomics.order]). The model has no load that reads a store
// executed later, and no store that comes earlier in the modification order than one executed
// before; those need a cycle of dependent relaxed operations, which lib/ does not have.
#include "explorer.hpp"

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <random>
#include <utility>

#include <cxxabi.h>
#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <ucontext.h>

extern "C" char __libc_single_threaded; // NOLINT: its name

namespace explorer {
namespace {

constexpr std::size_t max_threads = 4, max_objects = 40, arena_bytes = 64u << 10;
constexpr std::size_t stack_bytes = 128u << 10, max_steps = 1000;
constexpr int relaxed = 0, acquire = 2, release = 3, seq_cst = 5;

bool acquires(int order) { return order != relaxed && order != release; }
bool releases(int order) { return order >= release; }
/// Of the load of a compare that fails.
int failing_order(int order)
{
    return order == seq_cst ? seq_cst : acquires(order) ? acquire : relaxed;
}

struct View {
    std::array<std::uint16_t, max_objects> seen{};  // index of the oldest store that may be read
    std::array<std::uint16_t, max_threads> clock{}; // which events of each thread happened before
    void join_seen(const View& other)
    {
        for (std::size_t i = 0; i < max_objects; ++i)
            seen[i] = std::max(seen[i], other.seen[i]);
    }
    void join(const View& other)
    {
        join_seen(other);
        for (std::size_t i = 0; i < max_threads; ++i)
            clock[i] = std::max(clock[i], other.clock[i]);
    }
};

struct Store {
    std::uint64_t value;
    View view; // joined by an acquire load that reads it
};
struct Object {
    const void* at = nullptr;
    std::vector<Store> stores;
};

enum class What : std::uint8_t {
    begin,
    load,
    store,
    rmw,
    fence,
    lock,
    unlock,
    sleep,
    slept,
    wake,
    raise,
    lower,
    poll,
    yield
};
constexpr const char* names[] = {"begins", "loads",   "stores", "updates",  "fences",
                                 "locks",  "unlocks", "sleeps", "is woken", "wakes",
                                 "raises", "lowers",  "polls",  "yields"};

struct Operation {
    What what = What::begin;
    const void* at = nullptr;
    int order = relaxed;
    [[nodiscard]] bool may_write() const
    {
        return what == What::store || what == What::rmw || what == What::lock
               || what == What::unlock || what == What::slept || what == What::wake
               || what == What::raise || what == What::lower || what == What::sleep;
    }
    [[nodiscard]] bool is_atomic() const { return what >= What::load && what <= What::fence; }
    [[nodiscard]] bool is_sc() const { return is_atomic() && order == seq_cst; }
};

bool depend(const Operation& a, const Operation& b)
{
    if ((a.what == What::yield && b.may_write()) || (b.what == What::yield && a.may_write()))
        return true;
    if (a.is_sc() && b.is_sc() && (a.what == What::fence || b.what == What::fence))
        return true;
    return a.at != nullptr && a.at == b.at
           && (a.may_write() || b.may_write() || (a.is_sc() && b.is_sc()));
}

struct Thread {
    Operation next;
    bool has_ended = true, is_asleep = false;
    std::uint64_t writes_seen = 0; // at its latest write or yield
    View now, acquired, released;  // acquired: by a later fence; released: by the latest fence
    std::vector<void*> frames;     // in each function that was called
    std::jmp_buf at{};
    ucontext_t entry{};
};

struct Mutex {
    int owner = -1;
    View view;
};

/// What each byte of the arena has seen of plain accesses.
struct Cell {
    std::uint32_t run = 0;
    std::uint8_t writer = 0;
    bool is_freed = false;
    std::uint16_t written = 0;
    std::array<std::uint16_t, max_threads> read{};
};

struct Step {
    unsigned thread;
    Operation operation;
    const Site* site;
    std::uint64_t value;
};

struct Place {
    Site site;
    int order = -1; // the mutant's
};

struct Choice {
    unsigned index, count;
};

// --- of all runs
alignas(64) std::byte arena[arena_bytes];
std::array<Cell, arena_bytes> cells;
std::array<std::size_t, arena_bytes / 16> sizes; // of the allocations
std::array<std::vector<std::byte>, max_threads> stacks;
std::array<Thread, max_threads> threads;
std::map<std::tuple<void*, Kind, int>, Place> places; // by the beginning of the function
std::map<void*, std::string> functions;               // names
std::map<int, bool> descriptors;
const Program* the_program = nullptr;
const Mutant* the_mutant = nullptr;
std::vector<Choice> choices;
bool is_drawn = false;
std::mt19937_64 random_bits;

// --- of one run
bool is_running = false; // code of the program runs
unsigned current = 0;    // thread; 0: makes the world and checks it
std::uint32_t run = 0;
std::size_t arena_used = 0, depth = 0;
std::uint64_t writes = 0;
unsigned sleeping = 0; // threads that need not run: what they would do was done
std::vector<Object> objects;
std::size_t object_count = 0;
std::map<const void*, Mutex> mutexes;
View common; // of sequentially consistent operations
std::vector<Step> steps;
std::string failure;
void* world = nullptr;
std::jmp_buf back;

/// Within it our own code calls no hook.
class Inside {
public:
    Inside() { is_running = false; }
    ~Inside() { is_running = true; }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;
};

enum Ending { ended = 1, failed, pruned };
[[noreturn]] void leave(Ending ending) { ::_longjmp(back, ending); }

[[noreturn]] void fail(const std::string& text)
{
    failure = text;
    leave(failed);
}

std::string describe()
{
    std::string text = failure + "\n";
    for (const auto& step : steps) {
        char line[512];
        const auto offset = static_cast<const std::byte*>(step.operation.at) - arena;
        std::snprintf(line, sizeof line, "  %u %s", step.thread,
                      names[static_cast<int>(step.operation.what)]);
        text += line;
        if (step.operation.at) {
            std::snprintf(line, sizeof line, " %lld: %lld", static_cast<long long>(offset),
                          static_cast<long long>(step.value));
            text += line;
        }
        if (step.operation.is_atomic())
            text += std::string{" "} + name_of(std::memory_order{step.operation.order});
        if (step.site)
            text += " in " + step.site->function;
        text += '\n';
    }
    return text;
}

unsigned choose(unsigned count)
{
    if (count == 1)
        return 0;
    if (is_drawn)
        return static_cast<unsigned>(random_bits() % count);
    if (depth == choices.size())
        choices.push_back({0, count});
    if (choices[depth].count != count)
        std::abort(); // the program does not repeat itself
    return choices[depth++].index;
}

bool is_enabled(const Thread& thread)
{
    if (thread.has_ended)
        return false;
    switch (thread.next.what) {
    case What::lock: return mutexes[thread.next.at].owner < 0;
    case What::slept: return !thread.is_asleep;
    case What::poll:
        return descriptors[static_cast<int>(reinterpret_cast<std::intptr_t>(thread.next.at))];
    case What::yield: return thread.writes_seen != writes;
    default: return true;
    }
}

/// Chooses the thread that goes on. The running one first: the first runs switch least.
unsigned pick()
{
    std::array<unsigned, max_threads> options{};
    unsigned count = 0;
    bool any = false, all_ended = true;
    for (unsigned i = 1; i < max_threads; ++i)
        if (!threads[i].has_ended && threads[i].next.what == What::begin)
            return i; // up to its first operation nobody sees it
    for (unsigned k = 0; k < max_threads; ++k) {
        const auto i = (current + k) % max_threads;
        all_ended = all_ended && threads[i].has_ended;
        if (!is_enabled(threads[i]))
            continue;
        any = true;
        if ((sleeping >> i & 1) == 0)
            options[count++] = i;
    }
    if (all_ended)
        leave(ended);
    if (!any) {
        std::string text = "nobody can go on:";
        for (unsigned i = 1; i < max_threads; ++i)
            if (!threads[i].has_ended)
                text += " " + std::to_string(i) + " "
                        + names[static_cast<int>(threads[i].next.what)] + ";";
        fail(text);
    }
    if (count == 0)
        leave(pruned);
    const auto chosen = choose(count);
    if (!is_drawn) {
        for (unsigned k = 0; k < chosen; ++k)
            sleeping |= 1u << options[k];
        for (unsigned i = 1; i < max_threads; ++i)
            if (depend(threads[i].next, threads[options[chosen]].next))
                sleeping &= ~(1u << i);
    }
    return options[chosen];
}

/// Lets the other threads run before the operation, as the explorer chooses.
void before(const Operation& operation)
{
    if (current == 0)
        return;
    auto& me = threads[current];
    me.next = operation;
    if (steps.size() > max_steps)
        fail("it does not end");
    const auto next = pick();
    if (next != current) {
        current = next;
        if (::_setjmp(me.at) == 0)
            ::_longjmp(threads[next].at, 1);
    }
}

void note(const Operation& operation, const Site* site = nullptr, std::uint64_t value = 0,
          bool has_written = true)
{
    steps.push_back({current, operation, site, value});
    if (operation.may_write() && has_written)
        threads[current].writes_seen = ++writes;
}

/// Events from now on are not part of a view that was copied before.
void tick() { ++threads[current].now.clock[current]; }

std::string where(const char* text, const void* at)
{
    char line[200];
    std::snprintf(line, sizeof line, "%s: thread %u, offset %lld", text, current,
                  static_cast<long long>(static_cast<const std::byte*>(at) - arena));
    return line;
}

bool is_in_arena(const void* at) { return at >= arena && at < arena + arena_bytes; }

/// Its name without return type, arguments and those of templates.
std::string name_of(void* function)
{
    ::Dl_info info{};
    if (::dladdr(function, &info) == 0 || !info.dli_sname)
        return "?";
    int status = 0;
    char* text = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
    std::string name;
    int depth_in_brackets = 0;
    for (const char* c = text ? text : info.dli_sname; *c != '\0'; ++c) {
        if (*c == '<')
            ++depth_in_brackets;
        else if (*c == '>')
            --depth_in_brackets;
        else if (depth_in_brackets != 0)
            continue;
        else if (*c == '(')
            break;
        else if (*c == ' ')
            name.clear(); // it was a return type
        else
            name += *c;
    }
    std::free(text);
    return name;
}

const std::string& known_name(void* function)
{
    auto found = functions.find(function);
    if (found == functions.end()) {
        auto name = name_of(function);
        constexpr std::string_view ours = "sidecar::detail::";
        if (name.starts_with(ours))
            name.erase(0, ours.size());
        found = functions.emplace(function, std::move(name)).first;
    }
    return found->second;
}

bool is_standard(const std::string& name)
{
    return name.starts_with("std::") || name.starts_with("__gnu_cxx::");
}

/// The operation of the innermost function that is not the standard library's.
Place& place_of(Kind kind, int order)
{
    const auto& frames = threads[current].frames;
    auto at = frames.rbegin();
    while (at + 1 < frames.rend() && is_standard(known_name(*at)))
        ++at;
    const auto [found, is_new] = places.try_emplace({*at, kind, order});
    if (is_new) {
        found->second.site = {known_name(*at), kind, std::memory_order{order}};
        if (the_mutant && the_mutant->site == found->second.site)
            found->second.order = static_cast<int>(the_mutant->order);
    }
    return found->second;
}

int order_of(const Place& place, int order) { return place.order < 0 ? order : place.order; }

Cell& cell_of(const void* at)
{
    auto& cell = cells[static_cast<std::size_t>(static_cast<const std::byte*>(at) - arena)];
    if (cell.run != run)
        cell = {.run = run};
    return cell;
}

void access(const void* at, std::size_t bytes, bool is_write)
{
    if (!is_in_arena(at))
        return;
    auto& now = threads[current].now;
    for (std::size_t i = 0; i < bytes; ++i) {
        auto& cell = cell_of(static_cast<const std::byte*>(at) + i);
        if (cell.is_freed)
            fail(where("an access to freed memory", at));
        if (cell.written > now.clock[cell.writer])
            fail(where("a data race with a write", at));
        if (is_write) {
            for (unsigned t = 0; t < max_threads; ++t)
                if (cell.read[t] > now.clock[t])
                    fail(where("a data race with a read", at));
            cell.writer = static_cast<std::uint8_t>(current);
            cell.written = now.clock[current];
        } else {
            cell.read[current] = now.clock[current];
        }
    }
}

std::uint64_t memory(const void* at, std::size_t bytes)
{
    std::uint64_t value = 0;
    std::memcpy(&value, at, bytes);
    return value;
}

std::size_t object_at(const void* at, std::size_t bytes)
{
    for (std::size_t i = 0; i < object_count; ++i)
        if (objects[i].at == at)
            return i;
    if (object_count == max_objects)
        std::abort();
    if (objects.size() == object_count)
        objects.emplace_back();
    auto& object = objects[object_count];
    object.at = at;
    object.stores.clear();
    object.stores.push_back({memory(at, bytes), {}});
    return object_count++;
}

/// Takes the store's value, as the order says.
void take(std::size_t object, std::size_t index, int order)
{
    auto& me = threads[current];
    const auto& store = objects[object].stores[index];
    const auto position = static_cast<std::uint16_t>(index);
    me.now.seen[object] = std::max(me.now.seen[object], position);
    (acquires(order) ? me.now : me.acquired).join(store.view);
    if (order == seq_cst)
        common.seen[object] = std::max(common.seen[object], position);
}

void put(const void* at, std::size_t bytes, std::size_t object, std::uint64_t value, int order,
         const View* continued)
{
    auto& me = threads[current];
    auto& stores = objects[object].stores;
    const auto index = static_cast<std::uint16_t>(stores.size());
    me.now.seen[object] = index;
    Store store{value, releases(order) ? me.now : me.released};
    if (continued)
        store.view.join(*continued); // a release sequence
    store.view.seen[object] = index;
    stores.push_back(store);
    if (order == seq_cst)
        common.seen[object] = index;
    std::memcpy(const_cast<void*>(at), &value, bytes);
    tick();
}

std::size_t oldest(std::size_t object, int order)
{
    const auto seen = threads[current].now.seen[object];
    return order == seq_cst ? std::max(seen, common.seen[object]) : seen;
}

std::uint64_t load(const void* at, std::size_t bytes, int order)
{
    if (!is_running)
        return memory(at, bytes);
    Inside inside;
    if (!is_in_arena(at))
        return memory(at, bytes);
    const auto& place = place_of(Kind::load, order);
    const Operation operation{What::load, at, order_of(place, order)};
    before(operation);
    access(at, bytes, false);
    const auto object = object_at(at, bytes);
    const auto last = objects[object].stores.size() - 1;
    const auto count = current == 0 ? 1 : last - oldest(object, operation.order) + 1;
    const auto index = last - choose(static_cast<unsigned>(count));
    take(object, index, operation.order);
    const auto value = objects[object].stores[index].value;
    note(operation, &place.site, value);
    return value;
}

void store(void* at, std::size_t bytes, std::uint64_t value, int order)
{
    if (!is_running || !is_in_arena(at)) {
        std::memcpy(at, &value, bytes);
        return;
    }
    Inside inside;
    const auto& place = place_of(Kind::store, order);
    const Operation operation{What::store, at, order_of(place, order)};
    before(operation);
    access(at, bytes, false);
    put(at, bytes, object_at(at, bytes), value, operation.order, nullptr);
    note(operation, &place.site, value);
}

/// `change` returns whether there is a new value, and it.
template <class Change>
std::uint64_t update(void* at, std::size_t bytes, int order, int otherwise, const Change& change)
{
    if (!is_running || !is_in_arena(at)) {
        const auto old = memory(at, bytes);
        if (const auto [does, value] = change(old); does)
            std::memcpy(at, &value, bytes);
        return old;
    }
    Inside inside;
    const auto& place = place_of(Kind::rmw, order);
    const Operation operation{What::rmw, at, order_of(place, order)};
    before(operation);
    access(at, bytes, false);
    const auto object = object_at(at, bytes);
    auto& stores = objects[object].stores;
    // A compare that fails may read an older store
    const auto last = stores.size() - 1;
    std::vector<std::size_t> readable{last};
    if (current != 0)
        for (auto i = last; i-- > oldest(object, otherwise);)
            if (!change(stores[i].value).first)
                readable.push_back(i);
    const auto index = readable[choose(static_cast<unsigned>(readable.size()))];
    const auto old = stores[index].value;
    const auto [does, value] = change(old);
    take(object, index,
         does ? operation.order : std::min(otherwise, failing_order(operation.order)));
    if (does) {
        const auto continued = stores[index].view;
        put(at, bytes, object, value, operation.order, &continued);
    }
    note(operation, &place.site, does ? value : old, does);
    return old;
}

void fence(int order)
{
    if (!is_running)
        return;
    Inside inside;
    const auto& place = place_of(Kind::fence, order);
    const Operation operation{What::fence, nullptr, order_of(place, order)};
    before(operation);
    auto& me = threads[current];
    if (acquires(operation.order))
        me.now.join(me.acquired);
    if (operation.order == seq_cst) {
        me.now.join_seen(common);
        common.join_seen(me.now);
    }
    if (releases(operation.order)) {
        me.released = me.now;
        tick();
    }
    note(operation, &place.site);
}

// --- threads

void run_thread(unsigned i)
{
    if (::_setjmp(threads[i].at) == 0)
        ::_longjmp(threads[0].at, 1);
    is_running = true;
    the_program->threads[i - 1](world);
    is_running = false;
    threads[i].has_ended = true;
    threads[i].next = {};
    current = pick();
    ::_longjmp(threads[current].at, 1);
}

/// Runs the thread up to the jump back that it makes first.
void start_thread(unsigned i)
{
    auto& thread = threads[i];
    thread.next = {};
    thread.has_ended = thread.is_asleep = false;
    thread.now = threads[0].now;
    thread.now.clock[i] = 1;
    stacks[i].resize(stack_bytes);
    ::getcontext(&thread.entry);
    thread.entry.uc_stack.ss_sp = stacks[i].data();
    thread.entry.uc_stack.ss_size = stack_bytes;
    ::makecontext(&thread.entry, reinterpret_cast<void (*)()>(run_thread), 1, i);
    if (::_setjmp(threads[0].at) == 0)
        ::setcontext(&thread.entry);
}

void start_threads()
{
    for (unsigned i = 1; i <= the_program->threads.size(); ++i)
        start_thread(i);
    tick(); // the main thread's later accesses are not before the threads
    current = 1;
    current = pick();
    ::_longjmp(threads[current].at, 1);
}

void begin_run()
{
    ++run;
    current = 0;
    arena_used = depth = object_count = 0;
    sleeping = 0;
    writes = 0;
    mutexes.clear();
    descriptors.clear();
    steps.clear();
    common = {};
    for (auto& thread : threads) {
        thread.has_ended = true;
        thread.writes_seen = 0;
        thread.frames.clear();
        thread.now = thread.acquired = thread.released = {};
    }
    threads[0].now.clock[0] = 1;
}

Ending run_once()
{
    begin_run();
    const int how = ::_setjmp(back);
    if (how == failed || how == pruned) {
        is_running = false;
        return static_cast<Ending>(how);
    }
    if (how == 0) {
        is_running = true;
        world = the_program->make();
        is_running = false;
        start_threads();
    }
    current = 0;
    for (const auto& thread : threads)
        threads[0].now.join(thread.now);
    is_running = true;
    the_program->check(world);
    the_program->destroy(world);
    is_running = false;
    return ended;
}

bool has_next()
{
    while (!choices.empty() && choices.back().index + 1 == choices.back().count)
        choices.pop_back();
    if (choices.empty())
        return false;
    ++choices.back().index;
    return true;
}

const void* pseudo(int fd) { return reinterpret_cast<const void*>(static_cast<std::intptr_t>(fd)); }

void* allocate(std::size_t bytes, std::size_t alignment)
{
    const auto begin = (arena_used + alignment - 1) & ~(alignment - 1);
    if (begin + bytes > arena_bytes)
        std::abort();
    arena_used = begin + bytes;
    sizes[begin / 16] = bytes;
    return arena + begin;
}

} // namespace

const char* name_of(std::memory_order order)
{
    constexpr const char* names_of_orders[] = {"relaxed", "consume", "acquire",
                                               "release", "acq_rel", "seq_cst"};
    return names_of_orders[static_cast<int>(order)];
}

Outcome explore(const Program& program, const Limits& limits, const Mutant* mutant)
{
    __libc_single_threaded = 0; // otherwise shared_ptr counts without atomic operations
    the_program = &program;
    the_mutant = mutant;
    places.clear();
    choices.clear();
    is_drawn = limits.seed != 0;
    random_bits.seed(limits.seed);
    Outcome outcome;
    while (outcome.runs < limits.runs) {
        ++outcome.runs;
        if (run_once() == failed) {
            outcome.failure = describe();
            break;
        }
        if (!is_drawn && !has_next()) {
            outcome.is_complete = true;
            break;
        }
    }
    for (const auto& [key, place] : places)
        outcome.sites.push_back(place.site);
    std::sort(outcome.sites.begin(), outcome.sites.end());
    outcome.sites.erase(std::unique(outcome.sites.begin(), outcome.sites.end()),
                        outcome.sites.end());
    return outcome;
}

void require(bool condition, const char* text)
{
    if (condition)
        return;
    Inside inside;
    fail(text);
}

bool is_readable(int fd)
{
    Inside inside;
    return descriptors[fd];
}

void wait_readable(int fd)
{
    Inside inside;
    const Operation operation{What::poll, pseudo(fd)};
    before(operation);
    note(operation);
}

} // namespace explorer

using namespace explorer;

// --- the system's calls; the linker leads the program's here (clang names some itself)
extern "C" {

void* __real_memcpy(void*, const void*, std::size_t);
void* __real_memmove(void*, const void*, std::size_t);
void* __real_memset(void*, int, std::size_t);
int __real_pthread_mutex_lock(pthread_mutex_t*);
int __real_pthread_mutex_unlock(pthread_mutex_t*);

void* __wrap_memcpy(void* to, const void* from, std::size_t bytes)
{
    if (is_running) {
        Inside inside;
        access(from, bytes, false);
        access(to, bytes, true);
    }
    return __real_memcpy(to, from, bytes);
}
void* __wrap_memmove(void* to, const void* from, std::size_t bytes)
{
    if (is_running) {
        Inside inside;
        access(from, bytes, false);
        access(to, bytes, true);
    }
    return __real_memmove(to, from, bytes);
}
void* __wrap_memset(void* to, int octet, std::size_t bytes)
{
    if (is_running) {
        Inside inside;
        access(to, bytes, true);
    }
    return __real_memset(to, octet, bytes);
}

void* __tsan_memcpy(void* to, const void* from, std::size_t bytes)
{
    return __wrap_memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, std::size_t bytes)
{
    return __wrap_memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int octet, std::size_t bytes)
{
    return __wrap_memset(to, octet, bytes);
}

int __wrap_pthread_mutex_lock(pthread_mutex_t* mutex)
{
    if (!is_running)
        return 0;
    Inside inside;
    const Operation operation{What::lock, mutex};
    before(operation);
    auto& it = mutexes[mutex];
    it.owner = static_cast<int>(current);
    threads[current].now.join(it.view);
    note(operation);
    return 0;
}
int __wrap_pthread_mutex_unlock(pthread_mutex_t* mutex)
{
    if (!is_running)
        return 0;
    Inside inside;
    const Operation operation{What::unlock, mutex};
    before(operation);
    auto& it = mutexes[mutex];
    it.owner = -1;
    it.view = threads[current].now;
    tick();
    note(operation);
    return 0;
}
pthread_t __wrap_pthread_self() { return current + 1; }

int __wrap_sched_yield()
{
    Inside inside;
    const Operation operation{What::yield};
    before(operation);
    threads[current].writes_seen = writes;
    // It will see every store in time
    for (std::size_t i = 0; i < object_count; ++i)
        threads[current].now.seen[i] = static_cast<std::uint16_t>(objects[i].stores.size() - 1);
    note(operation);
    return 0;
}

long __wrap_syscall(long number, ...)
{
    va_list arguments;
    va_start(arguments, number);
    auto* at = va_arg(arguments, std::uint32_t*);
    const auto operation = va_arg(arguments, int);
    const auto value = va_arg(arguments, std::uint32_t);
    va_end(arguments);
    if (number != SYS_futex || !is_running)
        std::abort();
    Inside inside;
    if ((operation & FUTEX_CMD_MASK) == FUTEX_WAKE) {
        before({What::wake, at});
        for (auto& thread : threads)
            if (thread.next.what == What::slept && thread.next.at == at)
                thread.is_asleep = false;
        note({What::wake, at});
        return 0;
    }
    // The system compares the newest value, and its locks order nothing for the program
    before({What::sleep, at});
    note({What::sleep, at}, nullptr, value, false);
    const auto object = object_at(at, sizeof value);
    const auto& stores = objects[object].stores;
    threads[current].now.seen[object] = static_cast<std::uint16_t>(stores.size() - 1);
    if (stores.back().value != value)
        return -1;
    threads[current].is_asleep = true;
    before({What::slept, at});
    note({What::slept, at});
    return 0;
}

int __wrap_eventfd(unsigned, int)
{
    Inside inside;
    const int fd = static_cast<int>(1000 + descriptors.size());
    descriptors[fd] = false;
    return fd;
}
int __wrap_close(int) { return 0; }
long __wrap_write(int fd, const void*, std::size_t bytes)
{
    Inside inside;
    before({What::raise, pseudo(fd)});
    descriptors[fd] = true;
    note({What::raise, pseudo(fd)});
    return static_cast<long>(bytes);
}
long __wrap_read(int fd, void*, std::size_t bytes)
{
    Inside inside;
    before({What::lower, pseudo(fd)});
    const bool was = std::exchange(descriptors[fd], false);
    note({What::lower, pseudo(fd)});
    return was ? static_cast<long>(bytes) : -1;
}

// --- the calls that the compiler adds
void __tsan_init() {}
void __tsan_func_entry(void*)
{
    if (!is_running)
        return;
    Inside inside;
    threads[current].frames.push_back(__builtin_return_address(0));
}
void __tsan_func_exit()
{
    if (is_running && !threads[current].frames.empty())
        threads[current].frames.pop_back();
}
void __tsan_vptr_update(void** at, void*)
{
    if (is_running) {
        Inside inside;
        access(at, sizeof *at, true);
    }
}
void __tsan_vptr_read(void** at)
{
    if (is_running) {
        Inside inside;
        access(at, sizeof *at, false);
    }
}
#define SIDECAR_RANGE(name, is_write)                                                              \
    void __tsan_##name##_range(void* at, unsigned long bytes)                                      \
    {                                                                                              \
        if (is_running) {                                                                          \
            Inside inside;                                                                         \
            access(at, bytes, is_write);                                                           \
        }                                                                                          \
    }
#define SIDECAR_ACCESS(name, bytes, is_write)                                                      \
    void __tsan_##name(void* at)                                                                   \
    {                                                                                              \
        if (is_running) {                                                                          \
            Inside inside;                                                                         \
            access(at, bytes, is_write);                                                           \
        }                                                                                          \
    }
#define SIDECAR_SIZES(name, is_write)                                                              \
    SIDECAR_ACCESS(name##1, 1, is_write)                                                           \
    SIDECAR_ACCESS(name##2, 2, is_write)                                                           \
    SIDECAR_ACCESS(name##4, 4, is_write)                                                           \
    SIDECAR_ACCESS(name##8, 8, is_write)                                                           \
    SIDECAR_ACCESS(name##16, 16, is_write)
SIDECAR_RANGE(read, false)
SIDECAR_RANGE(write, true)
SIDECAR_SIZES(read, false)
SIDECAR_SIZES(write, true)
SIDECAR_SIZES(unaligned_read, false)
SIDECAR_SIZES(unaligned_write, true)
SIDECAR_SIZES(volatile_read, false)
SIDECAR_SIZES(volatile_write, true)

#define SIDECAR_UPDATE(bits, type, name, expression)                                               \
    type __tsan_atomic##bits##_##name(volatile void* at, type operand, int order)                  \
    {                                                                                              \
        const auto change = [operand](std::uint64_t old) {                                         \
            (void)old;                                                                             \
            return std::pair{true, std::uint64_t{static_cast<type>(expression)}};                  \
        };                                                                                         \
        return static_cast<type>(                                                                  \
            update(const_cast<void*>(at), sizeof(type), order, relaxed, change));                  \
    }
#define SIDECAR_COMPARE(bits, type, strength)                                                      \
    int __tsan_atomic##bits##_compare_exchange_##strength(volatile void* at, void* expected,       \
                                                          type desired, int order, int otherwise)  \
    {                                                                                              \
        const auto wanted = memory(expected, sizeof(type));                                        \
        const auto change = [wanted, desired](std::uint64_t old) {                                 \
            return std::pair{old == wanted, std::uint64_t{desired}};                               \
        };                                                                                         \
        const auto old = update(const_cast<void*>(at), sizeof(type), order, otherwise, change);    \
        if (old == wanted)                                                                         \
            return 1;                                                                              \
        std::memcpy(expected, &old, sizeof(type));                                                 \
        return 0;                                                                                  \
    }
#define SIDECAR_COMPARE_FOR_VALUE(bits, type)                                                      \
    type __tsan_atomic##bits##_compare_exchange_val(volatile void* at, type expected,              \
                                                    type desired, int order, int otherwise)        \
    {                                                                                              \
        (void)__tsan_atomic##bits##_compare_exchange_strong(at, &expected, desired, order,         \
                                                            otherwise);                            \
        return expected;                                                                           \
    }
#define SIDECAR_ATOMIC(bits, type)                                                                 \
    type __tsan_atomic##bits##_load(const volatile void* at, int order)                            \
    {                                                                                              \
        return static_cast<type>(load(const_cast<const void*>(at), sizeof(type), order));          \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile void* at, type value, int order)                     \
    {                                                                                              \
        store(const_cast<void*>(at), sizeof(type), value, order);                                  \
    }                                                                                              \
    SIDECAR_UPDATE(bits, type, exchange, operand)                                                  \
    SIDECAR_UPDATE(bits, type, fetch_add, old + operand)                                           \
    SIDECAR_UPDATE(bits, type, fetch_sub, old - operand)                                           \
    SIDECAR_UPDATE(bits, type, fetch_and, old& operand)                                            \
    SIDECAR_UPDATE(bits, type, fetch_or, old | operand)                                            \
    SIDECAR_UPDATE(bits, type, fetch_xor, old ^ operand)                                           \
    SIDECAR_COMPARE(bits, type, strong)                                                            \
    SIDECAR_COMPARE(bits, type, weak)                                                              \
    SIDECAR_COMPARE_FOR_VALUE(bits, type)
SIDECAR_ATOMIC(8, std::uint8_t)
SIDECAR_ATOMIC(16, std::uint16_t)
SIDECAR_ATOMIC(32, std::uint32_t)
SIDECAR_ATOMIC(64, std::uint64_t)
void __tsan_atomic_thread_fence(int order) { fence(order); }
void __tsan_atomic_signal_fence(int) {}
} // extern "C"

// --- memory: never used twice in a run, so that a late access is seen
void* operator new(std::size_t bytes)
{
    if (is_running) {
        Inside inside;
        return allocate(bytes, 16);
    }
    void* at = std::malloc(bytes);
    return at ? at : throw std::bad_alloc{};
}
void* operator new(std::size_t bytes, std::align_val_t alignment)
{
    if (is_running) {
        Inside inside;
        return allocate(bytes, static_cast<std::size_t>(alignment));
    }
    void* at = std::aligned_alloc(static_cast<std::size_t>(alignment), bytes);
    return at ? at : throw std::bad_alloc{};
}
void operator delete(void* at) noexcept
{
    if (!is_in_arena(at))
        return std::free(at);
    if (!is_running)
        return;
    Inside inside;
    const auto bytes = sizes[static_cast<std::size_t>(static_cast<std::byte*>(at) - arena) / 16];
    access(at, bytes, true);
    for (std::size_t i = 0; i < bytes; ++i)
        cell_of(static_cast<std::byte*>(at) + i).is_freed = true;
}
void operator delete(void* at, std::size_t) noexcept { operator delete(at); }
void operator delete(void* at, std::align_val_t) noexcept { operator delete(at); }
void operator delete(void* at, std::size_t, std::align_val_t) noexcept { operator delete(at); }
