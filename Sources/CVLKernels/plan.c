// How products and attention are cut into units of work. The cut never touches the order in which an output is summed.
#include "vl_blocks.h"
#include "vl_kernels.h"

// Multiply-adds that make a unit worth handing to a thread: a few microseconds of work.
enum { UNIT_WORK = 128 * 1024 };

// Rows that count as few: the greatest Q_STREAM of the tables (see quant.inc.h).
enum { FEW_ROWS = 12 };

// Columns that kernels of many rows take at a time (see quant.inc.h): three groups, or two of them.
enum { PANEL = 48 };

static int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }

static int64_t product_work(const vl_product *p) { return p->rows * (p->depth > 0 ? p->depth : 1) * p->columns; }

// Columns of a unit of few rows, which read the weights as a stream: the longer, the better.
static int64_t stream_columns(const vl_product *p, int32_t threads) {
    const int64_t columns = ceiling(UNIT_WORK * p->columns, product_work(p)), share = ceiling(p->columns, threads * 8);
    // Packed weights come in groups of 16 columns.
    return ceiling(columns > share ? columns : share, VL_GROUP_ROWS) * VL_GROUP_ROWS;
}

// Columns of a unit of many rows: as many panels as leave the threads least to wait for in the end. Larger units read the
// rows less often and fetch more weights ahead, but they have no more than `share` multiply-adds, or two panels.
static int64_t panel_columns(const vl_product *p, int64_t share, int32_t threads) {
    const int64_t panels = ceiling(p->columns, PANEL), most = p->columns * share / product_work(p) / PANEL;
    int64_t best = 1, least = INT64_MAX;
    for (int64_t n = 1; n <= panels && (n <= most || n <= 2); n++) {
        // In 32nds of a panel's time, one of which a unit takes besides.
        const int64_t time = ceiling(ceiling(panels, n), threads) * (32 * n + 1);
        if (time <= least) {
            least = time;
            best = n;
        }
    }
    return best * PANEL;
}

int64_t vl_product_plan(const vl_product_jobs *jobs, int32_t threads) {
    int64_t units = 0, work = 0;
    for (int64_t i = 0; i < jobs->count; i++) work += product_work(&jobs->jobs[i].product);
    // Several units a thread even out unequal speed.
    const int64_t share = work / (threads * 8);
    for (int64_t i = 0; i < jobs->count; i++) {
        vl_product_job *job = &jobs->jobs[i];
        const vl_product *p = &job->product;
        job->first_unit = units;
        job->unit_columns = 1;
        if (p->rows == 0 || p->columns == 0) continue;
        job->unit_columns = p->rows > FEW_ROWS ? panel_columns(p, share, threads) : stream_columns(p, threads);
        units += ceiling(p->columns, job->unit_columns);
    }
    return units;
}

void vl_product_unit(void *context, int64_t unit, int worker) {
    (void)worker;
    const vl_product_jobs *jobs = (const vl_product_jobs *)context;
    int64_t low = 0, high = jobs->count - 1;
    while (low < high) {
        const int64_t middle = (low + high + 1) / 2;
        if (jobs->jobs[middle].first_unit <= unit) low = middle;
        else high = middle - 1;
    }
    const vl_product_job *job = &jobs->jobs[low];
    const int64_t first = (unit - job->first_unit) * job->unit_columns;
    int64_t last = first + job->unit_columns;
    if (last > job->product.columns) last = job->product.columns;
    job->kernel(&job->product, first, last);
}

// Groups of a unit that has few rows of each: as many as leave the threads least to wait for in the end, since those who
// walk the cache together find in it what lies side by side.
static int64_t attention_groups(const vl_attention_job *job, int32_t threads) {
    const int64_t groups = job->attention.groups, rows = job->tile_heads * job->tile_tokens;
    int64_t best = 1, least = INT64_MAX;
    for (int64_t n = 1; n <= groups && n * rows <= VL_ATTENTION_ROWS; n++) {
        const int64_t time = ceiling(ceiling(groups, n), threads) * (32 * n + 1);
        if (time <= least) {
            least = time;
            best = n;
        }
    }
    return best;
}

int64_t vl_attention_plan(const vl_attention_jobs *jobs, int32_t threads) {
    int64_t units = 0;
    for (int64_t i = 0; i < jobs->count; i++) {
        vl_attention_job *job = &jobs->jobs[i];
        const int64_t groups = job->attention.groups;
        job->first_unit = units;
        job->tile_heads = job->heads < VL_ATTENTION_ROWS ? job->heads : VL_ATTENTION_ROWS;
        // One token with few key-value heads would leave threads idle: its heads are shared out instead.
        const int64_t alone = job->tokens * groups;
        if (alone < threads * 2) {
            // Heads that share all keys are cut no finer than threads need: every part reads the cache.
            const int64_t wanted = alone <= 1 ? threads : ceiling(threads * 2, alone);
            const int64_t share = ceiling(job->heads, wanted);
            if (share < job->tile_heads) job->tile_heads = share;
        }
        job->tile_tokens = VL_ATTENTION_ROWS / job->tile_heads;
        if (job->tile_tokens > job->tokens) job->tile_tokens = job->tokens;
        job->tile_groups = job->tile_tokens == job->tokens ? attention_groups(job, threads) : 1;
        units += ceiling(groups, job->tile_groups) * ceiling(job->heads, job->tile_heads) *
                 ceiling(job->tokens, job->tile_tokens);
    }
    return units;
}

void vl_attention_unit(void *context, int64_t unit, int worker) {
    (void)worker;
    float scratch[VL_ATTENTION_SCRATCH];
    const vl_attention_jobs *jobs = (const vl_attention_jobs *)context;
    int64_t i = jobs->count - 1;
    while (i > 0 && jobs->jobs[i].first_unit > unit) i--;
    const vl_attention_job *job = &jobs->jobs[i];
    int64_t rest = unit - job->first_unit;
    const int64_t group_tiles = ceiling(job->attention.groups, job->tile_groups);
    const int64_t head_tiles = ceiling(job->heads, job->tile_heads);
    const int64_t token_tiles = ceiling(job->tokens, job->tile_tokens);
    // Late tokens see the most keys: they go first, so that no thread is left with a long tile at the end.
    const int64_t token_tile = token_tiles - 1 - rest / (group_tiles * head_tiles);
    rest %= group_tiles * head_tiles;
    const int64_t g0 = rest / head_tiles * job->tile_groups, head_tile = rest % head_tiles;
    vl_attention attention = job->attention;
    attention.q += g0 * attention.group_q_stride;
    attention.out += g0 * attention.group_out_stride;
    attention.k_offset += g0 * attention.group_k_stride;
    attention.v_offset += g0 * attention.group_v_stride;
    attention.groups = attention.groups - g0 < job->tile_groups ? attention.groups - g0 : job->tile_groups;
    const int64_t t0 = token_tile * job->tile_tokens, h0 = head_tile * job->tile_heads;
    int64_t t1 = t0 + job->tile_tokens, h1 = h0 + job->tile_heads;
    if (t1 > job->tokens) t1 = job->tokens;
    if (h1 > job->heads) h1 = job->heads;
    jobs->attend(&attention, t0, t1, h0, h1, scratch);
}
