// How products and attention are cut into units of work. The cut never touches the order in which an output is summed.
#include "vl_kernels.h"

// Multiply-adds that make a unit worth handing to a thread: a few microseconds of work.
enum { UNIT_WORK = 128 * 1024 };

static int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t vl_product_plan(const vl_product_jobs *jobs, int32_t threads) {
    int64_t units = 0;
    for (int64_t i = 0; i < jobs->count; i++) {
        vl_product_job *job = &jobs->jobs[i];
        const vl_product *p = &job->product;
        job->first_unit = units;
        if (p->rows == 0 || p->columns == 0) {
            job->unit_columns = 1;
            continue;
        }
        // Several units a thread even out unequal speed; more than needed would read the rows too often.
        const int64_t per_column = p->rows * (p->depth > 0 ? p->depth : 1);
        int64_t columns = ceiling(UNIT_WORK, per_column);
        const int64_t share = ceiling(p->columns, (int64_t)threads * 8);
        if (columns < share) columns = share;
        if (columns > 96 && p->rows > 1) columns = 96;
        // Packed weights come in groups of 16 columns.
        columns = ceiling(columns, 16) * 16;
        job->unit_columns = columns;
        units += ceiling(p->columns, columns);
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

int64_t vl_attention_plan(const vl_attention_jobs *jobs, int32_t threads) {
    int64_t units = 0;
    for (int64_t i = 0; i < jobs->count; i++) {
        vl_attention_job *job = &jobs->jobs[i];
        job->first_unit = units;
        job->tile_heads = job->heads < VL_ATTENTION_ROWS ? job->heads : VL_ATTENTION_ROWS;
        // One token with few key-value heads would leave threads idle: its heads are shared out instead.
        const int64_t alone = job->tokens * job->groups;
        if (alone < threads * 2) {
            // Heads that share all keys are cut no finer than threads need: every part reads the cache.
            const int64_t wanted = alone <= 1 ? threads : ceiling(threads * 2, alone);
            const int64_t share = ceiling(job->heads, wanted);
            if (share < job->tile_heads) job->tile_heads = share;
        }
        job->tile_tokens = VL_ATTENTION_ROWS / job->tile_heads;
        units += job->groups * ceiling(job->heads, job->tile_heads) * ceiling(job->tokens, job->tile_tokens);
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
    const int64_t head_tiles = ceiling(job->heads, job->tile_heads);
    const int64_t token_tiles = ceiling(job->tokens, job->tile_tokens);
    // Late tokens see the most keys: they go first, so that no thread is left with a long tile at the end.
    const int64_t token_tile = token_tiles - 1 - rest / (job->groups * head_tiles);
    rest %= job->groups * head_tiles;
    const int64_t group = rest / head_tiles, head_tile = rest % head_tiles;
    vl_attention attention = job->attention;
    attention.q += group * job->group_q_stride;
    attention.out += group * job->group_out_stride;
    attention.k_offset += group * job->group_k_stride;
    attention.v_offset += group * job->group_v_stride;
    const int64_t t0 = token_tile * job->tile_tokens, h0 = head_tile * job->tile_heads;
    int64_t t1 = t0 + job->tile_tokens, h1 = h0 + job->tile_heads;
    if (t1 > job->tokens) t1 = job->tokens;
    if (h1 > job->heads) h1 = job->heads;
    jobs->attend(&attention, t0, t1, h0, h1, scratch);
}
